"""One FastAPI application in front of one `System`. The order of the layers is the list below."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Security
from starlette.middleware import Middleware

import fluido
from app.core.drain import Drain
from app.core.ports import System
from app.core.settings import Settings

from . import conversations, errors, observe, pages
from .bounds import BoundedBody, RequestId
from .chat import chat_router
from .draining import Draining
from .origins import KnownHost, SafeHeaders
from .pace import Pace
from .panel import Feed, Frames, panel_router
from .security import SCHEMES, Door
from .traffic import Measured, Traffic

_DESCRIPTION = "Chat with a language model behind buffers that tune themselves."


def create_app(
    system: System, settings: Settings, pace: Pace | None = None, drain: Drain | None = None
) -> FastAPI:
    """Serve `system` under Sentinel's HTTP contract; the system is opened and closed with the app."""
    traffic = Traffic(system.flows)
    pace = pace or Pace(slow_client_s=settings.slow_client_s)
    drain = drain or Drain(announce_s=settings.announce_s, grace_s=settings.drain_s)

    replica = f"{socket.gethostname()}:{settings.port}"
    feed = Feed(Frames(system, traffic, replica=replica), is_leaving=lambda: drain.is_leaving)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        pace.open()
        try:
            await system.open()
            yield
        finally:
            pace.close()
            await feed.close()
            await system.close()

    app = FastAPI(
        title="Sentinel",
        version=fluido.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        middleware=[
            *_tracing(settings),
            Middleware(RequestId),
            Middleware(SafeHeaders),
            Middleware(Measured, traffic=traffic),
            *_host_check(settings),
            Middleware(Draining, drain=drain),
            Middleware(BoundedBody, max_bytes=settings.max_body_bytes),
        ],
    )
    app.state.system = system
    app.state.traffic = traffic
    app.state.pace = pace
    app.state.feed = feed
    app.state.drain = drain
    errors.install(app)
    door = Door(settings.keys(), settings.requests_per_minute)
    shown = [Security(scheme) for scheme in SCHEMES if settings.has_keys]
    guard = [Depends(door), *shown]
    app.include_router(chat_router(settings.max_message_chars), dependencies=guard)
    app.include_router(conversations.router, dependencies=guard)
    app.include_router(observe.router)
    app.include_router(panel_router(feed, door, settings.slow_client_s), dependencies=shown)
    app.include_router(pages.pages_router(settings))
    app.mount("/web", pages.static_files(), name="web")
    app.mount("/swagger", pages.swagger_files(), name="swagger")
    return app


def _host_check(settings: Settings) -> list[Middleware]:
    """A key keeps foreign pages out; without one, the name they call us by does."""
    if settings.has_keys:
        return []
    return [Middleware(KnownHost, allowed=(settings.host, *settings.allowed_hosts))]


def _tracing(settings: Settings) -> list[Middleware]:
    """Spans of requests and of what they wait for, where SENTINEL_TRACES asks for them."""
    if not settings.traces:
        return []
    from fluido.telemetry import opentelemetry  # noqa: PLC0415 - an extra: only who wants traces needs it

    from .traces import Traced  # noqa: PLC0415 - the same

    opentelemetry.install()
    return [Middleware(Traced)]
