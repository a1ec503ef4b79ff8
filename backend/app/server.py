"""The HTTP server of one replica: a signal drains it, and its listener closes last."""

import asyncio
import socket
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from app.arrivals import Arrivals, protocol
from app.build import build
from app.cache.dynamic_redis import dynamic_redis_cache
from app.core.adaptive_buffers import adaptive_buffer_manager
from app.core.drain import Drain
from app.core.heap import settle
from app.core.logs import configure
from app.core.settings import Settings
from app.services.system import SentinelSystem

log = structlog.get_logger(__name__)

# What is left when the drain is done (pages, metrics) is not worth waiting for.
AFTER_DRAIN_S = 1
KEEP_ALIVE_S = 75


class DrainingServer(uvicorn.Server):
    """uvicorn, which would close its listener at the first signal; a second signal does not wait."""

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._is_told = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            log.info("listening", addresses=", ".join(self._addresses()))

    def _addresses(self) -> list[str]:
        return [
            f"http://{_shown(*each.getsockname()[:2])}" for server in self.servers for each in server.sockets
        ]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave; called by the interpreter between two instructions of the loop's thread."""
        if self._loop is None or self._is_told:
            super().handle_exit(sig, frame)
            return
        self._is_told = True
        self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._leaving = asyncio.ensure_future(self._leave())

    async def _leave(self) -> None:
        log.info("leaving", answers_under_way=self._drain.inflight)
        try:
            cut = await self._drain.leave()
            log.info("left", answers_cut=cut)
        finally:
            self.should_exit = True


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def application(
    settings: Settings,
    *,
    namespace: str | None = None,
    system_class: type[SentinelSystem] = SentinelSystem,
) -> FastAPI:
    """The one Sentinel of a process: it sets the log up, and the customer's global names are its parts."""
    configure(settings.log_level)
    sentinel = build(
        settings,
        buffers=adaptive_buffer_manager,
        cache=dynamic_redis_cache,
        namespace=namespace,
        system_class=system_class,
    )
    settle()
    return sentinel.app


def server(settings: Settings) -> DrainingServer:
    """Sentinel's server by settings that name a database by now."""
    app = application(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=AFTER_DRAIN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        http=protocol(Arrivals(header_s=settings.header_s, body_s=settings.body_s)),
    )
    return DrainingServer(config, app.state.drain)
