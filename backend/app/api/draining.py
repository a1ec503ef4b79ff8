"""The door of a replica that leaves: work is counted, newcomers are sent elsewhere, connections end."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.drain import Drain
from fluido.errors import Closed

from .errors import answer_to

# Health, metrics and pages answer to the end, and nobody waits for them.
WORK = ("/chat", "/conversations")


class Draining:
    """Pure ASGI. Refuses work with 503 once the drain says so; before that nothing is refused here."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.is_leaving:
                # a kept connection would lead the next request to a listener that is gone
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        if not scope["path"].startswith(WORK):
            await self._app(scope, receive, closing)
        elif self._drain.is_refusing:
            error = Closed("This replica is stopping and takes no new work: ask again, another one answers.")
            await answer_to(error).response()(scope, receive, closing)
        else:
            with self._drain.work():
                await self._app(scope, receive, closing)
