"""Streams beside SQLAlchemy's own: as soon, as far, as quiet, and bounded for every type of column.

sqlalchemy/sqlalchemy#11125 (a client leaves a streamed response), #8929 (streams of an AUTOCOMMIT engine).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import DBAPIError, ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.compiler import compiles

from fluido.laws._fetch import FAR
from fluido.sqlalchemy import Limits, RowStreams, close_engine, create_async_engine, pool_of

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

TARGET = 2.0**18


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[AsyncEngine]:
    url = postgres_url.replace("+asyncpg", f"+{request.param}")
    engine = create_async_engine(url, limit=Limits(min=1, max=3))
    yield engine
    gate = pool_of(engine).gate
    assert (gate.inflight, gate.lent) == (0, 0)
    assert await close_engine(engine)


def numbers(count: int) -> sa.TextClause:
    return sa.text(f"SELECT n FROM generate_series(1, {count}) AS n")


async def test_leaving_before_the_next_block_is_there_is_quiet(engine: AsyncEngine) -> None:
    slow = sa.text("SELECT i, CASE WHEN i > 60 THEN pg_sleep(0.3) END FROM generate_series(1, 400) i")
    for how in ("break", "raise"):
        try:
            async with RowStreams(engine).stream(slow) as rows:
                async for row in rows:
                    if row.i < 25:
                        continue
                    if how == "break":
                        break
                    raise ZeroDivisionError
        except ZeroDivisionError:
            assert how == "raise", "the caller's own error comes out, and no other"
    async with engine.connect() as connection:
        assert (await connection.execute(sa.text("SELECT 1"))).scalar_one() == 1


async def test_what_lies_beyond_the_last_row_that_was_read_is_nobodys_error(engine: AsyncEngine) -> None:
    query = sa.text("SELECT 1 / (n - 70) AS n FROM generate_series(1, 2000) AS n")
    async with RowStreams(engine).stream(query) as rows:
        async for _ in rows:
            break
    with pytest.raises(DBAPIError, match="division by zero"):
        async with RowStreams(engine).stream(query) as rows:
            assert len([row async for row in rows]) < 70


WIDE = {
    "json": "jsonb_build_object('x', repeat('x', 20000))",
    "json list": "jsonb_build_array(repeat('x', 10000), repeat('y', 10000))",
    "array": "array_fill('xxxxxxxxxx'::text, ARRAY[2000])",
    "composite": "ROW(repeat('x', 20000), 1)",
    "bytes": "convert_to(repeat('x', 20000), 'UTF8')",
    "text": "repeat('x', 20000)",
}


@pytest.mark.parametrize("kind", WIDE)
async def test_blocks_are_bounded_in_bytes_for_every_type(engine: AsyncEngine, kind: str) -> None:
    query: Any = sa.text(f"SELECT {WIDE[kind]} AS v FROM generate_series(1, 400)")
    if kind.startswith("json"):
        query = query.columns(v=pg.JSONB)
    streams = RowStreams(engine, target_bytes=TARGET)
    for _ in range(2):  # cold, and with what was learned
        async with streams.stream(query) as rows:
            sizes = [len(block) async for block in rows.blocks()]
        assert sum(sizes) == 400
        # SQLAlchemy's adapter for asyncpg fetches the first fifty by itself.
        # On a busy machine the server may seem far away: then a block may have so many times the bytes.
        assert max(sizes[1:]) * 20_000 <= 2 * FAR * TARGET


async def test_the_first_row_comes_before_the_second_block(engine: AsyncEngine) -> None:
    """A slow query: what stock shows at once must not wait for a hundred rows."""
    wait_s = 0.02
    query = sa.text(f"SELECT i, pg_sleep({wait_s}) FROM generate_series(1, 100) i")
    came_s: dict[str, float] = {}
    for who in ("stock", "ours"):
        began_s = time.perf_counter()
        if who == "stock":
            async with engine.connect() as connection:
                result = await connection.stream(query)
                await result.fetchone()
                came_s[who] = time.perf_counter() - began_s
                await result.close()
        else:
            async with RowStreams(engine).stream(query) as rows:
                await anext(rows)
                came_s[who] = time.perf_counter() - began_s
    assert came_s["ours"] <= came_s["stock"] + 50 * wait_s / 2, "a round of fifty more would be a second"


async def test_whoever_iterates_again_goes_on(engine: AsyncEngine) -> None:
    async with RowStreams(engine).stream(numbers(1000)) as rows:
        seen = []
        async for row in rows:
            seen.append(row.n)
            if len(seen) == 3:
                break
        seen.append((await anext(rows)).n)
        async for row in rows:
            seen.append(row.n)
            if len(seen) == 333:
                break
        async for block in rows.blocks():
            seen += [row.n for row in block]
            break
        seen += [row.n async for row in rows]
        assert seen == list(range(1, 1001))
        assert [row async for row in rows] == []
        with pytest.raises(StopAsyncIteration):
            await anext(rows)


async def test_it_ends_where_stocks_does(engine: AsyncEngine) -> None:
    async with RowStreams(engine).stream(numbers(1000)) as rows:
        await anext(rows)
    with pytest.raises(ResourceClosedError):
        async for _ in rows.blocks():
            pass
    async with engine.connect() as connection:
        result = await connection.stream(numbers(1000))
        await result.fetchone()
        await result.close()
        with pytest.raises(ResourceClosedError):
            await result.fetchone()


async def test_a_reader_that_gave_up_waiting_may_go_on(engine: AsyncEngine) -> None:
    slow = sa.text("SELECT n, CASE WHEN n = 60 THEN pg_sleep(0.2) END FROM generate_series(1, 300) AS n")
    seen = []
    async with RowStreams(engine).stream(slow) as rows:
        while len(seen) < 300:
            try:
                async with asyncio.timeout(0.05):
                    async for row in rows:
                        seen.append(row.n)  # noqa: PERF401  (what came before the timeout counts)
            except TimeoutError:
                continue
    assert seen == list(range(1, 301))


class OnlyHere(sa.sql.expression.ColumnElement[int]):
    inherit_cache = True
    type = sa.Integer()


@compiles(OnlyHere, "postgresql")
def _only_here(*_: Any, **__: Any) -> str:
    return "generate_series(1, 120)"


async def test_a_statement_that_only_postgresql_compiles(engine: AsyncEngine) -> None:
    query = sa.select(OnlyHere().label("n"))
    async with RowStreams(engine).stream(query) as rows:
        assert [row.n async for row in rows] == list(range(1, 121))


async def test_an_autocommitting_engine_streams(engine: AsyncEngine) -> None:
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with RowStreams(autocommit).stream(numbers(500)) as rows:
        assert len([row async for row in rows]) == 500


async def test_streams_beside_a_full_pool_neither_stop_it_nor_are_stopped(engine: AsyncEngine) -> None:
    async def read() -> int:
        async with RowStreams(engine).stream(numbers(3000)) as rows:
            count = 0
            async for _ in rows:
                count += 1
                if count % 500 == 0:
                    await asyncio.sleep(0.003)
            return count

    assert await asyncio.gather(*(read() for _ in range(12))) == [3000] * 12
