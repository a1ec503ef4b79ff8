"""The arms on the customer's own PostgreSQL, Redis and engine, which get back exactly what they had.

One schema an arm and one key prefix, with a name that no other run has; both are removed at the end, also
after Ctrl-C. Nothing else is written, changed or read.
"""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import asyncpg
import redis.asyncio
from redis.exceptions import RedisError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from bench.arms import VARIANT
from bench.confined import PREFIX_VARIABLE, connect, inside
from bench.http import HttpSender
from bench.server import ArmServer, ServerError
from bench.stage import Contestant, insert_histories
from embedded.outside import find_engine, without_secret

APPLICATIONS = {"v1": "bench.confined_v1:app", "v2": VARIANT}
NAME = "sentinel_bench"
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Services:
    """What the customer gives: three addresses, and the model where the engine has several."""

    database_url: str
    redis_url: str
    engine_url: str
    model: str = ""

    def describe(self) -> list[str]:
        """What a run will do with them, in sentences."""
        database, cache = without_secret(self.database_url), without_secret(self.redis_url)
        schemas = f"makes two schemas named {NAME}_..., works only in them and drops them at the end"
        keys = f"writes keys that begin with {NAME}_... and deletes them at the end"
        return [
            f"PostgreSQL {database}: {schemas}",
            f"Redis {cache}: {keys}",
            f"engine {without_secret(self.engine_url)}: asks it questions, as users would",
        ]


def services(environment: Mapping[str, str]) -> Services:
    """From DATABASE_URL, REDIS_URL and OLLAMA_URL (or OPENAI_URL). `ServerError` says which is missing."""
    engine = environment.get("OLLAMA_URL") or environment.get("OPENAI_URL")
    found = {
        "DATABASE_URL": environment.get("DATABASE_URL"),
        "REDIS_URL": environment.get("REDIS_URL"),
        "OLLAMA_URL": engine,
    }
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise ServerError(
            f"--external needs {' and '.join(missing)} in the environment. Nothing was touched."
        )
    try:
        database = make_url(found["DATABASE_URL"] or "").set(drivername="postgresql+asyncpg")
    except ArgumentError:
        raise ServerError("DATABASE_URL is not an address of a database. Nothing was touched.") from None
    return Services(
        database.render_as_string(hide_password=False),
        found["REDIS_URL"] or "",
        engine or "",
        environment.get("SENTINEL_MODEL", ""),
    )


class Borrowed:
    """`async with Borrowed(services) as stage:` gives `stage.contestants`, like `Stage`."""

    def __init__(
        self,
        services: Services,
        arms: Sequence[str] = ("v1", "v2"),
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._services = services
        self._arms = tuple(arms)
        self._say = say
        self._exit = AsyncExitStack()
        self.prefix = f"{NAME}_{secrets.token_hex(4)}"
        self.contestants: dict[str, Contestant] = {}
        self.ground: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        try:
            await self._reserve()
            folder = Path(self._exit.enter_context(TemporaryDirectory(prefix="sentinel-bench-")))
            for arm in self._arms:
                self._say(f"starting {arm}")
                await self._start(arm, folder)
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._exit.aclose()

    async def settle(self, arm: str, histories: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        """Conversations that already exist, in the arm's own schema."""
        contestant = self.contestants[arm]
        connection = await connect(contestant.database_url)
        try:
            contestant.sender.know(await insert_histories(connection, histories))
        finally:
            await connection.close()

    async def restart(self, arm: str, environment: Mapping[str, str]) -> None:
        """The arm's process again, with other variables."""
        contestant = self.contestants[arm]
        await contestant.server.restart(environment)
        contestant.sender.move(contestant.server.url)
        self.contestants[arm] = replace(contestant, url=contestant.server.url)

    async def _reserve(self) -> None:
        """Ask all three before anything is made; what is made is removed in the end."""
        self._engine = find_engine(self._services.engine_url, model=self._services.model or None)
        if not self._engine.answers:
            raise ServerError(
                f"Nobody answers at {without_secret(self._services.engine_url)}. Nothing was touched."
            )
        cache = redis.asyncio.Redis.from_url(self._services.redis_url)
        self._exit.push_async_callback(cache.aclose)
        try:
            await cache.ping()
        except (RedisError, OSError) as error:
            raise ServerError(f"Redis does not answer: {error}. Nothing was touched.") from None
        link = await self._database()
        self._exit.push_async_callback(self._forget_keys, cache)
        for arm in self._arms:
            await self._make_schema(link, self._schema(arm))
            self._exit.push_async_callback(self._drop_schema, self._schema(arm))

    async def _database(self) -> "asyncpg.Connection[asyncpg.Record]":
        try:
            link = await connect(self._services.database_url)
        except (OSError, asyncpg.PostgresError) as error:
            raise ServerError(f"PostgreSQL does not let us in: {error}. Nothing was touched.") from None
        self._exit.push_async_callback(link.close)
        return link

    async def _make_schema(self, link: "asyncpg.Connection[asyncpg.Record]", schema: str) -> None:
        try:
            await link.execute(f'CREATE SCHEMA "{schema}"')
        except asyncpg.InsufficientPrivilegeError:
            who = make_url(self._services.database_url)
            raise ServerError(
                f"The role {who.username} may not create a schema in the database {who.database}: "
                f"GRANT CREATE ON DATABASE {who.database} TO {who.username}, or give another DATABASE_URL. "
                "Nothing was touched."
            ) from None

    async def _drop_schema(self, schema: str) -> None:
        link = await connect(self._services.database_url)
        try:
            await link.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
        finally:
            await link.close()

    async def _forget_keys(self, cache: redis.asyncio.Redis) -> None:
        found: list[bytes] = []
        async for key in cache.scan_iter(match=f"{self.prefix}*", count=_BATCH):
            found.append(key)
            if len(found) >= _BATCH:
                await cache.unlink(*found)
                found.clear()
        if found:
            await cache.unlink(*found)

    def _schema(self, arm: str) -> str:
        return f"{self.prefix}_{arm}"

    async def _start(self, arm: str, folder: Path) -> None:
        engine = self._engine
        database_url = inside(self._services.database_url, self._schema(arm))
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": self._services.redis_url,
            "OPENAI_URL" if engine.kind == "llamacpp" else "OLLAMA_URL": engine.url,
            "SENTINEL_MODEL": engine.model or "",
            PREFIX_VARIABLE: f"{self.prefix}_{arm}",
        }
        server = ArmServer(APPLICATIONS[arm], environment, folder / f"{arm}.log")
        await self._exit.enter_async_context(server)
        sender = HttpSender(server.url)
        await sender.open()
        self._exit.push_async_callback(sender.close)
        self.ground = (
            "PostgreSQL, Redis and engine of the customer; both arms share them",
            f"engine {engine.kind}, model {engine.model or 'of the engine'}",
        )
        self.contestants[arm] = Contestant(
            arm,
            server.url,
            sender,
            server,
            database_url,
            self._services.redis_url,
            engine.url,
            engine.kind,
            engine.model or "",
            None,
        )


def from_environment() -> Services:
    """What the surrounding shell names."""
    return services(os.environ)
