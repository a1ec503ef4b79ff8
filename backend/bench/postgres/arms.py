"""The pools that are compared, behind one shape: take a connection, run statements, give it back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

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


def stock(
    url: str, size: int, *, overflow: int = 0, name: str = "SQLAlchemy", timeout_s: float = 300.0
) -> EngineArm:
    """SQLAlchemy's own pool."""
    engine = create_stock_engine(
        url, pool_size=size, max_overflow=overflow, pool_timeout=timeout_s, isolation_level="AUTOCOMMIT"
    )
    return EngineArm(name, engine)


def fixed(url: str, size: int) -> FluidoArm:
    """fluido's pool with a pinned size: only the queue differs from the stock pool."""
    return FluidoArm("fluido fixed", fluido_engine(url, Limits(min=size, max=size)))


def fluido_engine(url: str, limits: Limits, *, timeout_s: float = 300.0) -> AsyncEngine:
    """An autocommitting engine of ours."""
    return create_async_engine(url, limit=limits, pool_timeout=timeout_s, isolation_level="AUTOCOMMIT")
