"""The pool and its engine."""

from typing import assert_type

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.pool import NullPool

from fluido._metrics import FlowStats
from fluido.sqlalchemy import (
    AdaptivePool,
    Limits,
    ReadReplicas,
    RowStreams,
    async_engine_from_config,
    close_engine,
    create_async_engine,
    pool_of,
)


async def a_program() -> None:
    """Everything of the guide."""
    engine = create_async_engine("postgresql+asyncpg://", limit=Limits(min=2, max=50), echo=True)
    assert_type(engine, AsyncEngine)
    assert_type(create_async_engine("postgresql+asyncpg://", poolclass=NullPool, writable=True), AsyncEngine)
    assert_type(async_engine_from_config({"sqlalchemy.url": "postgresql+asyncpg://"}), AsyncEngine)

    pool = pool_of(engine)
    assert_type(pool, AdaptivePool)
    assert_type(pool.stats(), FlowStats)
    assert_type(pool.stats().value, float)
    pool.pin(8)
    pool.unpin()

    async with async_sessionmaker(engine)() as session:
        await session.execute(text("SELECT 1"))
    async with RowStreams(engine).stream(text("SELECT 1")) as rows:
        async for row in rows:
            print(row.n)
    async with ReadReplicas(engine, engine) as replicas:
        position = await replicas.position()
        async with replicas.connect(after=position), replicas.connect(after="0/16B3748"):
            pass
    assert_type(await close_engine(engine), bool)


async def what_is_refused() -> None:
    """Each of these is an error; mypy says so when it is none."""
    create_async_engine("postgresql+asyncpg://", limit=50)  # type: ignore[arg-type]
    create_async_engine("postgresql+asyncpg://", limit={"min": 1, "max": 5})  # type: ignore[arg-type]
    create_async_engine("postgresql+asyncpg://").pool.pin(8)  # type: ignore[attr-defined]
