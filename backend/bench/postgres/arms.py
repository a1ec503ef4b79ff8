"""The pools that are compared, behind one shape: take a connection, run statements, give it back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import asyncpg
import psycopg_pool
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine as create_stock_engine

from fluido.sqlalchemy import Limits, close_engine, create_async_engine

Execute = Callable[[str], Awaitable[object]]


class Arm(Protocol):
    """One pool. `acquire` waits for a connection in autocommit and yields what executes a statement on it."""

    @property
    def name(self) -> str: ...

    async def open(self) -> None: ...

    def acquire(self) -> AbstractAsyncContextManager[Execute]: ...

    async def close(self) -> None: ...


class EngineArm:
    """A SQLAlchemy engine, stock or fluido's."""

    def __init__(self, name: str, engine: AsyncEngine) -> None:
        self.name = name
        self.engine = engine
        self._statements: dict[str, object] = {}

    async def open(self) -> None:
        """The first connection also initialises the dialect."""
        async with self.acquire() as execute:
            await execute("SELECT 1")

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Execute]:
        async with self.engine.connect() as connection:

            async def execute(statement: str) -> object:
                return await connection.execute(text(statement))

            yield execute

    async def close(self) -> None:
        await self.engine.dispose()


class FluidoArm(EngineArm):
    """fluido's engine; closing it is final."""

    async def close(self) -> None:
        await close_engine(self.engine)


class AsyncpgArm:
    """asyncpg's own pool; `connect` are further arguments of asyncpg.connect."""

    def __init__(self, url: str, size: int, *, name: str = "asyncpg pool", **connect: Any) -> None:
        self.name = name
        self._url = url.replace("+asyncpg", "")
        self._size = size
        self._connect = connect
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(
            self._url, min_size=self._size, max_size=self._size, **self._connect
        )

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Execute]:
        if self._pool is None:
            raise RuntimeError("open() comes first")
        async with self._pool.acquire() as connection:
            yield connection.execute

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()


class PsycopgArm:
    """psycopg_pool's asynchronous pool."""

    def __init__(self, url: str, size: int) -> None:
        self.name = "psycopg_pool"
        self._pool = psycopg_pool.AsyncConnectionPool(
            url.replace("+asyncpg", ""),
            min_size=size,
            max_size=size,
            open=False,
            kwargs={"autocommit": True},
        )

    async def open(self) -> None:
        await self._pool.open(wait=True)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Execute]:
        async with self._pool.connection() as connection:
            yield connection.execute

    async def close(self) -> None:
        await self._pool.close()


def stock(
    url: str, size: int, *, overflow: int = 0, name: str = "SQLAlchemy", timeout_s: float = 300.0
) -> EngineArm:
    """SQLAlchemy's own pool."""
    engine = create_stock_engine(
        url, pool_size=size, max_overflow=overflow, pool_timeout=timeout_s, isolation_level="AUTOCOMMIT"
    )
    return EngineArm(name, engine)


def behind_pgbouncer(url: str, clients: int) -> AsyncpgArm:
    """A connection for every task; PgBouncer, at `url`, is the queue."""
    return AsyncpgArm(url, clients, name="PgBouncer", statement_cache_size=0)


def v1(url: str) -> EngineArm:
    """What V1 uses: the default pool, five connections and ten more."""
    return stock(url, 5, overflow=10, name="V1 (5+10)")


def fixed(url: str, size: int) -> FluidoArm:
    """fluido's pool with a pinned size: only the queue differs from the stock pool."""
    return FluidoArm("fluido fixed", fluido_engine(url, Limits(min=size, max=size)))


def adaptive(url: str, *, most: int = 96, start: float | None = None) -> FluidoArm:
    """fluido's pool as one would use it."""
    return FluidoArm("fluido", fluido_engine(url, Limits(min=2, max=most, start=start)))


def fluido_engine(url: str, limits: Limits, *, timeout_s: float = 300.0) -> AsyncEngine:
    """An autocommitting engine of ours."""
    return create_async_engine(url, limit=limits, pool_timeout=timeout_s, isolation_level="AUTOCOMMIT")
