"""Streams over a real server-side cursor: every row once, in order, and bounded memory."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido.laws._fetch import FAR
from fluido.sqlalchemy import AdaptivePool, Limits, RowStreams, close_engine, create_async_engine

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[AsyncEngine]:
    url = postgres_url.replace("+asyncpg", f"+{request.param}")
    engine = create_async_engine(url, limit=Limits(min=1, max=2))
    yield engine
    assert await close_engine(engine)


def nothing_is_out(engine: AsyncEngine) -> bool:
    assert isinstance(engine.pool, AdaptivePool)
    return engine.pool.gate.inflight == 0


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 150, 151, 5000])
async def test_every_row_comes_once_and_in_order(engine: AsyncEngine, count: int) -> None:
    query = sa.text("SELECT n FROM generate_series(1, :count) AS n")
    async with RowStreams(engine).stream(query, {"count": count}) as rows:
        seen = [row.n async for row in rows]
    assert seen == list(range(1, count + 1))
    assert nothing_is_out(engine)


async def test_an_autocommitting_engine_streams_in_a_transaction(engine: AsyncEngine) -> None:
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with RowStreams(autocommit).stream(sa.text("SELECT generate_series(1, 500) AS n")) as rows:
        assert len([row async for row in rows]) == 500


async def test_rows_are_those_of_the_statement(engine: AsyncEngine) -> None:
    made = sa.func.jsonb_build_object("n", sa.column("n"), type_=sa.dialects.postgresql.JSONB)
    query = sa.select(made.label("data")).select_from(sa.func.generate_series(1, 70).alias("n"))
    async with RowStreams(engine).stream(query) as rows:
        assert [row.data["n"] async for row in rows] == list(range(1, 71))


async def test_wide_rows_come_in_small_blocks_and_narrow_ones_in_large(engine: AsyncEngine) -> None:
    streams = RowStreams(engine, target_bytes=2.0**18)
    sizes: dict[str, list[int]] = {"narrow": [], "wide": []}
    for name, query in (
        ("narrow", "SELECT n FROM generate_series(1, 60000) n"),
        ("wide", "SELECT repeat('x', 8192) AS text FROM generate_series(1, 400) n"),
    ):
        async with streams.stream(sa.text(query)) as rows:
            async for block in rows.blocks():
                sizes[name].append(len(block))
    # On a busy machine the server may seem far away: then a block may have so many times the bytes. The
    # first one is SQLAlchemy's own with asyncpg.
    most = FAR * 2**18 / 8192
    assert max(sizes["wide"][1:]) <= most
    assert max(sizes["narrow"]) > 2 * most


async def test_the_next_block_is_on_its_way_while_this_one_is_read(engine: AsyncEngine) -> None:
    query = sa.text("SELECT n FROM generate_series(1, 1000) AS n")
    async with RowStreams(engine).stream(query) as rows:
        iterator = aiter(rows.blocks())
        await anext(iterator)
        task = rows.pending
        assert task is not None
        await asyncio.wait((task,), timeout=5.0)
        assert task.done()


async def test_stopping_early_gives_the_connection_back_unharmed(engine: AsyncEngine) -> None:
    pids = []
    for _ in range(2):
        async with RowStreams(engine).stream(
            sa.text("SELECT pg_backend_pid() AS pid FROM generate_series(1, 100000)")
        ) as rows:
            async for row in rows:
                pids.append(row.pid)
                break
        assert nothing_is_out(engine)
    assert pids[0] == pids[1]


async def test_an_error_in_the_middle_is_sqlalchemys(engine: AsyncEngine) -> None:
    query = sa.text("SELECT 1 / (n - 900) AS n FROM generate_series(1, 2000) AS n")

    async def read() -> None:
        async with RowStreams(engine).stream(query) as rows:
            async for _ in rows:
                pass

    with pytest.raises(DBAPIError, match="division by zero"):
        await read()
    assert nothing_is_out(engine)


async def test_a_cancelled_reader_leaves_nothing_behind(engine: AsyncEngine) -> None:
    async def read() -> None:
        async with RowStreams(engine).stream(
            sa.text("SELECT pg_sleep(0.01) FROM generate_series(1, 10000)")
        ) as rows:
            async for _ in rows:
                pass

    task = asyncio.create_task(read())
    await asyncio.wait((task,), timeout=0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert nothing_is_out(engine)
    async with engine.connect() as connection:
        assert (await connection.execute(sa.text("SELECT 1"))).scalar_one() == 1
