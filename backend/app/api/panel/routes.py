"""GET /panel, the page, and GET /panel/events, what it shows."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fastapi import APIRouter, Depends, Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from app.api.origins import check_own_page
from app.api.pages import HEADERS, WEB

from .feed import Feed

RETRY = b"retry: 2000\n\n"


class PanelStream(Response):
    """The events of a feed until the client leaves, or reads nothing for `slow_client_s`."""

    def __init__(self, events: AsyncGenerator[bytes, None], slow_client_s: float) -> None:
        self._events = events
        self._slow_client_s = slow_client_s
        self.background = None
        self.status_code = 200

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()) and not isinstance(error, TimeoutError):
            raise error

    async def _send(self, send: Send) -> None:
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store",
            "x-accel-buffering": "no",
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await self._write(send, RETRY)
        async with aclosing(self._events) as events:
            async for data in events:
                await self._write(send, data)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(self._slow_client_s):
            await send({"type": "http.response.body", "body": data, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def panel_router(feed: Feed, door: Callable[..., object], slow_client_s: float) -> APIRouter:
    """The page is open, as it holds nothing; its events ask for a key, as the conversations do."""
    router = APIRouter(tags=["operations"])

    @router.get("/panel", include_in_schema=False)
    async def panel() -> FileResponse:
        return FileResponse(WEB / "panel.html", headers=HEADERS)

    @router.get(
        "/panel/events",
        summary="Every flow, live",
        response_class=Response,
        dependencies=[Depends(door)],
        responses={
            200: {
                "content": {"text/event-stream": {}},
                "description": "One `history`, then a `frame` a second; `end` when the server stops.",
            }
        },
    )
    async def events(request: Request) -> Response:
        """Server-sent events of the live page. At most 16 may listen; nobody listens, nothing is computed."""
        check_own_page(request.scope["headers"])
        feed.check_room()
        return PanelStream(feed.watch(), slow_client_s)

    return router
