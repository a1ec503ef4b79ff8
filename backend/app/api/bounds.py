"""Bounds on what arrives: body size, encoding and request ids, as pure ASGI."""

import asyncio
import re
import uuid
from contextlib import suppress

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import Answer

# What is read, and for how long, after a body was refused.
LINGER_BYTES = 4 << 20
LINGER_S = 2.0
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


class RequestId:
    """Names each request in its answer and in the log; a sane id of the caller is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, named)


class BoundedBody:
    """Reads a body of at most `max_bytes` before the application sees the request.

    A longer one is answered with 413 without reading the rest, one that is not UTF-8 with 400: so
    no handler holds a resource while a client is slow to send.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await self._refuse(receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                await self._refuse(receive, send)
                return
        try:
            body.decode("utf-8")
        except UnicodeDecodeError as error:
            answer = Answer(400, "not_utf8", f"The body is not UTF-8: byte {error.start} cannot be decoded.")
            await answer.response()(scope, receive, send)
            return
        await self._app(scope, _replay(bytes(body), receive), send)

    async def _refuse(self, receive: Receive, send: Send) -> None:
        sentence = f"The body may hold at most {self._max_bytes} bytes."
        response = Answer(413, "too_large", sentence).response()
        response.headers["connection"] = "close"
        started = {"type": "http.response.start", "status": 413, "headers": response.raw_headers}
        await send(started)
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        # A connection that is closed while its client sends is reset, and the answer lost: a client that is
        # nearly through may end, one that is not is cut.
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                left = LINGER_BYTES
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
