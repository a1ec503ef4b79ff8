"""Everything twice, on loopback: what `make ha` shows and what the fault suite hurts."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

from embedded.engine import Engine, EngineOptions
from embedded.errors import GroundError
from embedded.folder import DataFolder, need_space
from embedded.ground import EngineName, silent, weights
from embedded.haproxy import Backends, HaProxy
from embedded.patroni import Arbiter, Group, PatroniMember
from embedded.ports import free_port
from embedded.postgres import DATABASE, USER
from embedded.program import Program
from embedded.redis import Redis
from embedded.redis_sentinel import RedisSentinel
from embedded.server import Server

WATCH_S = 0.2
REPLICAS = 2
ANNOUNCE_S = 1.5
GRACE_S = 4.0


def straight(_name: str, port: int) -> int:
    """The default of `via`: no link between."""
    return port


class Topology:
    """Two replicas of an application behind HAProxy, PostgreSQL primary and standby under Patroni, Redis
    primary with two replicas and three Sentinels, two engines. Inert when built; `with` starts and stops it.

    `application` is a command that reads PORT, DATABASE_URL, REDIS_URL and OPENAI_URL from its environment
    and answers at /health/ready; it runs in `home` with `environment` added. A part that dies is started
    again after `again_s`, as a service manager would; None leaves it to whoever killed it. `via(name, port)`
    may lead the replicas to another port than that of `postgres`, `redis` or an engine: to a slow link.
    """

    def __init__(
        self,
        application: Sequence[str],
        *,
        home: Path,
        environment: Mapping[str, str] | None = None,
        data_dir: Path | None = None,
        engine: EngineName = "synthetic",
        engine_options: EngineOptions | None = None,
        port: int | None = None,
        again_s: float | None = 3.0,
        via: Callable[[str, int], int] = straight,
        say: Callable[[str], None] = silent,
    ) -> None:
        self.data = DataFolder(data_dir)
        self.members: list[PatroniMember] = []
        self.redis: list[Redis] = []
        self.sentinels: list[RedisSentinel] = []
        self.engines: list[Engine] = []
        self.replicas: list[Program] = []
        self.servers: list[Server] = []
        self._application = tuple(application)
        self._home = home
        self._environment = dict(environment or {})
        self._engine: EngineName = engine
        self._options = engine_options
        self._port = port
        self._again_s = again_s
        self._via = via
        self._say = say
        self._ended = threading.Event()
        self._watcher: threading.Thread | None = None
        self._haproxy: HaProxy | None = None
        self._arbiter: list[Arbiter] = []

    @property
    def haproxy(self) -> HaProxy:
        if self._haproxy is None:
            raise GroundError("The topology has no balancer before its start.")
        return self._haproxy

    @property
    def url(self) -> str:
        """Sentinel, through the balancer."""
        return self.haproxy.url

    @property
    def database_url(self) -> str:
        """The primary, whoever that is, in libpq's form."""
        return f"postgresql://{USER}:{self.members[0].password}@127.0.0.1:{self.haproxy.postgres_port}/{DATABASE}"

    def primary(self) -> PatroniMember | None:
        """The member that is the primary by its Patroni's word."""
        return next((member for member in self.members if member.role() == "primary"), None)

    def start(self) -> Self:
        """Start in order of need. GroundError with a sentence; then nothing is left running."""
        self._ended.clear()
        folder = self.data.take()
        try:
            need_space(folder, 600, "two of everything")
            self._build(folder)
            self._all(self.redis[:1])
            self._all([*self.members, *self._arbiter, *self.redis[1:], *self.engines])
            self._all(self.sentinels)
            self._all([self.haproxy])
            primary = self.primary()
            if primary is None:
                raise GroundError("Patroni has chosen no primary although its members run.")
            primary.ensure_database()
            # one after the other: the first brings the schema
            for replica in self.replicas:
                self._all([replica])
        except BaseException:
            self.stop()
            raise
        if self._again_s is not None:
            self._watcher = threading.Thread(target=self._watch, name="topology-watch", daemon=True)
            self._watcher.start()
        return self

    def stop(self) -> None:
        """Stop all: who asks before who answers. May be called at any time."""
        self._ended.set()
        for group in (self.replicas, [*self.engines, *self.sentinels, *self.redis]):
            self._each(group, Server.stop)
        self._each([*self.members, *self._arbiter, *([self._haproxy] if self._haproxy else [])], Server.stop)
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.join()
        if self.data.throwaway:
            for server in (*self.members, *self._arbiter):
                server.forget()
        self.data.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        """start() with the event loop free."""
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.shield(asyncio.to_thread(self.stop))

    def _build(self, folder: Path) -> None:
        raft = tuple(free_port() for _ in range(3))
        group = Group(raft)
        self.members = [
            PatroniMember(folder, group, port, folder=f"postgres-{name}")
            for name, port in zip("ab", raft, strict=False)
        ]
        self._arbiter = [Arbiter(folder, group, raft[2])]
        first = Redis(folder, port=free_port(), password=secrets.token_hex(24), folder="redis-a")
        self.redis = [first, *(first.replica(folder=f"redis-{name}") for name in "bc")]
        for server, name in zip(self.redis, "abc", strict=True):
            server.name = f"Redis {name}"
            if server is not first:
                server.take_port()
        self.sentinels = [RedisSentinel(folder, first, quorum=2, folder=f"sentinel-{n}") for n in "abc"]
        for server, name in zip(self.sentinels, "abc", strict=True):
            server.name = f"Redis Sentinel {name}"
        model = weights(self._engine, self._ended)
        self.engines = [
            Engine(folder, model, self._options, port=free_port(), folder=f"engine-{n}") for n in "ab"
        ]
        for engine, name in zip(self.engines, "ab", strict=True):
            engine.name = f"Engine {name}"
        self.replicas = [
            Program(folder, self._application, {}, name=f"replica-{n}", home=self._home)
            for n in "ab"[:REPLICAS]
        ]
        backends = Backends(
            replicas={replica.name: replica.port for replica in self.replicas},
            postgres={member.folder.name: (member.port, member.api_port) for member in self.members},
            redis={server.folder.name: server.port for server in self.redis},
            redis_password=first.password,
        )
        self._haproxy = HaProxy(folder, backends, port=self._port)
        for replica in self.replicas:
            replica.environment.update(self._given(first.password, model.name))
        self.servers = [
            *self.replicas,
            self._haproxy,
            *self.members,
            *self._arbiter,
            *self.redis,
            *self.sentinels,
            *self.engines,
        ]

    def _given(self, redis_password: str, model: str) -> dict[str, str]:
        via = self._via
        postgres = via("postgres", self.haproxy.postgres_port)
        redis = via("redis", self.haproxy.redis_port)
        engines = [
            via(f"engine-{name}", engine.port) for name, engine in zip("ab", self.engines, strict=True)
        ]
        return {
            "DATABASE_URL": f"postgresql://{USER}:{self.members[0].password}@127.0.0.1:{postgres}/{DATABASE}",
            "REDIS_URL": f"redis://:{redis_password}@127.0.0.1:{redis}/0",
            "OPENAI_URL": ",".join(f"http://127.0.0.1:{port}" for port in engines),
            "SENTINEL_MODEL": model,
            "SENTINEL_REPLICAS": str(REPLICAS),
            "SENTINEL_ANNOUNCE_S": str(ANNOUNCE_S),
            "SENTINEL_DRAIN_S": str(GRACE_S),
            **self._environment,
        }

    def _all(self, servers: Sequence[Server]) -> None:
        self._each(servers, Server.start)

    @staticmethod
    def _each(servers: Sequence[Server], act: Callable[[Server], None]) -> None:
        """All at once; the first error is raised when all have ended."""
        if not servers:
            return
        with ThreadPoolExecutor(max_workers=len(servers), thread_name_prefix="topology") as pool:
            done = [pool.submit(act, server) for server in servers]
        for future in done:
            future.result()

    def _watch(self) -> None:
        """Start again what died; each in a thread of its own, because one may take its time."""
        busy: dict[Server, threading.Thread] = {}
        while not self._ended.wait(WATCH_S):
            for server in self.servers:
                if server.wanted and not server.running and not (server in busy and busy[server].is_alive()):
                    busy[server] = threading.Thread(target=self._again, args=(server,), daemon=True)
                    busy[server].start()
        for thread in busy.values():
            thread.join()

    def _again(self, server: Server) -> None:
        self._say(f"{server.name} ended (exit code {server.exit_code}); it is started again in a moment")
        if not self._ended.wait(self._again_s):
            with suppress(GroundError):
                server.start_again()
                self._say(f"{server.name} is back")
