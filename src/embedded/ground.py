"""The whole ground: PostgreSQL, Redis and an engine, started together and stopped in order."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from embedded import addresses, outside
from embedded.engine import Engine
from embedded.errors import GroundError
from embedded.folder import DataFolder, need_space
from embedded.model import Model, smollm2
from embedded.model_server import EngineOptions
from embedded.ollama import Ollama
from embedded.postgres import Postgres
from embedded.redis import Redis
from embedded.server import Server

EngineName = Literal["smollm2", "synthetic", "ollama"]
WATCH_S = 0.2
AGAIN_S_MAX = 5.0


def weights(engine: EngineName, given_up: threading.Event) -> Model:
    """The model file for an embedded engine; fetched or made at the first call."""
    if engine != "synthetic":
        return smollm2(given_up)
    try:
        from embedded.synthetic import synthetic  # noqa: PLC0415  its packages are for tests and benchmarks only
    except ImportError as error:
        raise GroundError(f"A synthetic model needs {error.name}: install requirements/dev.txt.") from error
    return synthetic()


def silent(line: str) -> None:
    """The default of `say`: nobody listens."""


class Stack:
    """What runs and where. Inert when built; `async with` starts and stops it, or `with` where one may block.

    A service whose URL is given is only named; with `engine_speaks_openai` its dialect is not looked for.
    `engine=None`, `postgres=False` or `redis=False` leaves that one out. With `supervise` a server that dies
    is started again on its port, with its data. `say` receives one line for each thing that people may want
    to know; it is called from any thread.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        engine: EngineName | None = "smollm2",
        postgres: bool = True,
        redis: bool = True,
        database_url: str | None = None,
        redis_url: str | None = None,
        engine_url: str | None = None,
        engine_speaks_openai: bool = False,
        model: str | None = None,
        detect_ollama: bool = False,
        engine_options: EngineOptions | None = None,
        durable: bool = True,
        fresh: bool = False,
        supervise: bool = True,
        say: Callable[[str], None] = silent,
    ) -> None:
        self.data = DataFolder(data_dir)
        self.postgres: Postgres | None = None
        self.redis: Redis | None = None
        self.engine: Engine | Ollama | None = None
        self.outside_engine: outside.OutsideEngine | None = None
        self._wants = (postgres and not database_url, redis and not redis_url, engine)
        self._given = (database_url, redis_url, engine_url)
        self._find_engine = outside.find_openai if engine_speaks_openai else outside.find_engine
        self._model = model
        self._detect_ollama = detect_ollama
        self._options = engine_options
        self._durable = durable
        self._fresh = fresh
        self._supervise = supervise
        self._say = say
        self._ended = threading.Event()
        self._starting: asyncio.Future[Self] | None = None
        self._watcher: threading.Thread | None = None

    @property
    def database_url(self) -> str:
        """`postgresql+asyncpg://...`; GroundError when there is no PostgreSQL in this stack."""
        given = self._given[0]
        if given:
            return given
        if self.postgres is None:
            raise GroundError("This stack has no PostgreSQL.")
        return self.postgres.url()

    @property
    def redis_url(self) -> str:
        given = self._given[1]
        if given:
            return given
        if self.redis is None:
            raise GroundError("This stack has no Redis.")
        return self.redis.url()

    @property
    def engine_url(self) -> str:
        return self._any_engine().url

    @property
    def engine_kind(self) -> outside.Dialect:
        return self._any_engine().kind

    @property
    def model(self) -> str | None:
        """What requests must call the model; None when an Ollama from outside has none yet."""
        engine = self._any_engine()
        return engine.model if isinstance(engine, outside.OutsideEngine) else engine.model.name

    @property
    def servers(self) -> list[Server]:
        """What this stack started, in the order in which it is stopped: who asks before who answers."""
        return [server for server in (self.engine, self.redis, self.postgres) if server is not None]

    def describe(self) -> list[str]:
        """One line for each service and one for the place of the logs."""
        lines = [
            self.postgres.describe() if self.postgres else self._given_line("PostgreSQL", self._given[0]),
            self.redis.describe() if self.redis else self._given_line("Redis", self._given[1]),
        ]
        engine = self.outside_engine or self.engine
        lines.append(engine.describe() if engine else "no engine")
        if self.servers:
            lines.append(f"logs in {self.data.path / 'log'}")
        return lines

    def shells(self) -> list[str]:
        """For each server of this stack a command that opens a shell on it as it is pasted."""
        servers = (self.postgres, self.redis)
        return [server.shell() for server in servers if server is not None]

    def note(self, **more: str) -> None:
        """Write where everything is to addresses.json of the data folder, for `doctor` and the like."""
        engine = self.outside_engine or self.engine
        known = {
            "database_url": self._given[0] or (self.postgres.url() if self.postgres else None),
            "redis_url": self._given[1] or (self.redis.url() if self.redis else None),
            "engine_url": self._given[2] or (engine.url if engine else None),
            "engine_kind": engine.kind if engine else None,
        }
        addresses.note(self.data.path, known | more)

    def start(self) -> Self:
        """Start what is wanted, all at once. GroundError with a sentence; then nothing is left running."""
        self._ended.clear()
        self.data.take()
        try:
            self._build()
            with ThreadPoolExecutor(max_workers=3, thread_name_prefix="ground") as pool:
                started = [pool.submit(server.start) for server in self.servers]
                try:
                    for future in started:
                        future.result()
                except BaseException:
                    self._ended.set()
                    for server in self.servers:
                        server.stop()
                    raise
        except BaseException:
            self.stop()
            raise
        self.note()
        if self._supervise and self.servers:
            self._watcher = threading.Thread(target=self._watch, name="ground-watch", daemon=True)
            self._watcher.start()
        return self

    def stop(self) -> None:
        """Stop in order and give the data folder back. May be called at any time, also while start() runs."""
        self._ended.set()
        for server in self.servers:
            server.stop()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.join()
        if self.postgres is not None and self.data.throwaway:
            self.postgres.forget()
        if self.data.taken:
            addresses.forget(self.data.path)
        self.data.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        """start() with the event loop free. A cancelled start stops what it had started before it ends."""
        self._starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            return await asyncio.shield(self._starting)
        except BaseException:
            await self.__aexit__()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        """stop() with the event loop free. A cancellation meanwhile is delivered when all are stopped."""
        stopping = asyncio.ensure_future(self._stop_after_start())
        cancelled: asyncio.CancelledError | None = None
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError as error:
                cancelled = error
        stopping.result()
        if cancelled is not None:
            raise cancelled

    async def _stop_after_start(self) -> None:
        await asyncio.to_thread(self.stop)
        if self._starting is not None:
            with suppress(GroundError):
                await self._starting
        # A thread that had not begun to start when stop() came has started everything by now.
        await asyncio.to_thread(self.stop)

    def _build(self) -> None:
        """Decide what runs here. Looks for an Ollama before an engine of our own is made."""
        folder = self.data.path
        need_space(folder, 64, "the ground")
        postgres, redis, engine = self._wants
        if self._given[2]:
            self.outside_engine = self._find_engine(self._given[2], model=self._model)
        elif self._detect_ollama and engine is not None:
            self.outside_engine = self._listening_ollama()
        self.postgres = Postgres(folder, durable=self._durable) if postgres else None
        self.redis = Redis(folder) if redis else None
        if engine is not None and self.outside_engine is None:
            kind = Ollama if engine == "ollama" else Engine
            self.engine = kind(folder, weights(engine, self._ended), self._options)
        if self._fresh:
            for server in self.servers:
                server.forget()

    def _listening_ollama(self) -> outside.OutsideEngine | None:
        found = outside.find_ollama(model=self._model)
        if found is not None and found.model is None:
            self._say(
                f"The Ollama at {found.url} has no model yet (`ollama pull` one): ours is used instead."
            )
            return None
        return found

    def _watch(self) -> None:
        """Start again what died, at most one try for each pause; the pause doubles while it keeps dying."""
        pause_s = WATCH_S
        while not self._ended.wait(pause_s):
            dead = [server for server in self.servers if server.wanted and not server.running]
            pause_s = min(pause_s * 2, AGAIN_S_MAX) if dead else WATCH_S
            for server in dead:
                self._say(f"{server.name} ended (exit code {server.exit_code}) and is started again.")
                with suppress(GroundError):
                    server.start_again()

    def _any_engine(self) -> Engine | Ollama | outside.OutsideEngine:
        engine = self.outside_engine or self.engine
        if engine is None:
            raise GroundError("This stack has no engine.")
        return engine

    @staticmethod
    def _given_line(name: str, url: str | None) -> str:
        return f"{name} at {outside.without_secret(url)} (yours)" if url else f"no {name}"
