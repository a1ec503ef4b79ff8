"""The arms, each on a ground of its own: PostgreSQL, Redis, engine and a Sentinel process.

One engine an arm, because an engine remembers prompts: arms that shared one would steal each other's prefix,
and the one that ran first in a block would pay for it. Whoever does not run uses no processor.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol, Self
from uuid import NAMESPACE_URL, uuid5

import asyncpg

import embedded
from bench.arms import APPLICATIONS
from bench.http import HttpSender
from bench.server import ArmServer
from embedded.server import Server

EngineName = Literal["smollm2", "synthetic", "ollama"]


@dataclass(frozen=True, slots=True)
class Contestant:
    """An arm that is up: its door, and the URLs of its own servers. `engine` is None when it is not ours."""

    name: str
    url: str
    sender: HttpSender
    server: ArmServer
    database_url: str
    redis_url: str
    engine_url: str
    engine_kind: str
    model: str
    engine: Server | None


class Ground(Protocol):
    """Where the arms are: on servers of their own, or on the customer's."""

    @property
    def contestants(self) -> Mapping[str, Contestant]: ...

    @property
    def ground(self) -> Sequence[str]: ...

    @property
    def prefix(self) -> str:
        """Of every Redis key that is written from here."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def settle(self, arm: str, histories: Mapping[str, Sequence[tuple[str, str]]]) -> None: ...

    async def restart(self, arm: str, environment: Mapping[str, str]) -> None: ...


class Stage:
    """`async with Stage(arms, engine=...) as stage:` gives `stage.contestants` by name."""

    prefix = "bench"

    def __init__(
        self,
        arms: Sequence[str],
        *,
        engine: EngineName,
        threads: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`threads` of each engine; None leaves one core to Sentinel, the servers and the load."""
        self._arms = tuple(arms)
        self._engine: EngineName = engine
        self._options = embedded.EngineOptions(threads=threads or max(1, (os.cpu_count() or 2) - 1))
        self._say = say
        self._exit = AsyncExitStack()
        self.contestants: dict[str, Contestant] = {}
        self.ground: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        try:
            folder = Path(self._exit.enter_context(TemporaryDirectory(prefix="sentinel-bench-")))
            self._say(f"starting {', '.join(self._arms)}")
            started = [self._start(arm, folder) for arm in self._arms]
            # All of them end before anything is stopped, so that nothing starts behind our back.
            for result in await asyncio.gather(*started, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._exit.aclose()

    async def restart(self, arm: str, environment: Mapping[str, str]) -> None:
        """The arm's process again, with other variables; its servers and their data stay."""
        contestant = self.contestants[arm]
        await contestant.server.restart(environment)
        contestant.sender.move(contestant.server.url)
        self.contestants[arm] = replace(contestant, url=contestant.server.url)

    async def settle(self, arm: str, histories: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        """Give an arm conversations that already exist: by name, pairs of question and answer.

        They go straight into its PostgreSQL, as if the process had been restarted since.
        """
        contestant = self.contestants[arm]
        connection = await asyncpg.connect(contestant.database_url.replace("+asyncpg", ""))
        try:
            contestant.sender.know(await insert_histories(connection, histories))
        finally:
            await connection.close()

    async def _start(self, arm: str, folder: Path) -> None:
        data = folder / arm
        data.mkdir()
        ground = await self._exit.enter_async_context(
            embedded.stack(data_dir=data, engine=self._engine, engine_options=self._options)
        )
        self.ground = self.ground or tuple(_public(line) for line in ground.describe())
        environment = {
            "DATABASE_URL": ground.database_url,
            "REDIS_URL": ground.redis_url,
            "OPENAI_URL" if ground.engine_kind == "llamacpp" else "OLLAMA_URL": ground.engine_url,
            "SENTINEL_MODEL": ground.model or "",
        }
        server = ArmServer(APPLICATIONS[arm], environment, folder / f"{arm}.log")
        await self._exit.enter_async_context(server)
        sender = HttpSender(server.url)
        await sender.open()
        self._exit.push_async_callback(sender.close)
        self.contestants[arm] = Contestant(
            arm,
            server.url,
            sender,
            server,
            ground.database_url,
            ground.redis_url,
            ground.engine_url,
            ground.engine_kind,
            ground.model or "",
            ground.engine,
        )


async def insert_histories(
    connection: "asyncpg.Connection[asyncpg.Record]", histories: Mapping[str, Sequence[tuple[str, str]]]
) -> dict[str, str]:
    """Conversations by name, as pairs of question and answer, where they are not there yet; their ids."""
    ids = {name: uuid5(NAMESPACE_URL, name) for name in histories}
    found = await connection.fetch("SELECT id FROM conversations WHERE id = ANY($1)", list(ids.values()))
    there = {row["id"] for row in found}
    fresh = {name: exchanges for name, exchanges in histories.items() if ids[name] not in there}
    rows = [
        (ids[name], role, text)
        for name, exchanges in fresh.items()
        for exchange in exchanges
        for role, text in zip(("user", "assistant"), exchange, strict=True)
    ]
    async with connection.transaction():
        await connection.executemany(
            "INSERT INTO conversations (id, user_id, title) VALUES ($1, $2, $3)",
            [(ids[name], name, name) for name in fresh],
        )
        await connection.executemany(
            "INSERT INTO messages (conversation_id, role, content) VALUES ($1, $2, $3)", rows
        )
    return {name: str(conversation) for name, conversation in ids.items()}


def _public(line: str) -> str:
    """A line about a server without its address: ports and folders of this machine help nobody."""
    kept: list[str] = []
    for word in line.split():
        if "://" in word or word.startswith("/"):
            if kept and kept[-1] in {"at", "in"}:
                kept.pop()
            continue
        kept.append(word)
    return " ".join(kept)
