"""One span per request, as pure ASGI; what happens inside becomes its children."""

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluido.telemetry.opentelemetry import request_span

QUIET = ("/health", "/metrics", "/web", "/panel")


class Traced:
    """Names the span after the route's template, so that names are few. Probes and pages have none."""

    def __init__(self, app: ASGIApp, tracer: Tracer | None = None) -> None:
        self._app = app
        self._tracer = tracer or trace.get_tracer("sentinel")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(QUIET):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"]
        span = request_span(self._tracer, method, headers, **{"http.request.method": method})

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("http.response.status_code", status)
                ids = [value.decode() for name, value in message["headers"] if name == b"x-request-id"]
                span.set_attribute("sentinel.request_id", next(iter(ids), ""))
                if status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
            await send(message)

        with trace.use_span(span, end_on_exit=True):
            try:
                await self._app(scope, receive, observed)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
