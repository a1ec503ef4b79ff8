"""Our pool through a PgBouncer in transaction mode, as docs/postgres.md says to set it up."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.postgres.pgbouncer import MISSING, PgBouncer, installed
from fluido.sqlalchemy import AdaptivePool, GroupWriter, Limits, close_engine, create_async_engine

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

PGBOUNCER_SIZE = 3
ROWS = sa.Table("through", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True))
# Before 1.21 PgBouncer forgets prepared statements at the end of a transaction.
ASYNCPG: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: f"__fluido_{uuid4()}__",
}
PSYCOPG: dict[str, Any] = {"prepare_threshold": None}


@pytest.fixture
def bouncer(postgres_url: str, tmp_path: Path) -> Iterator[PgBouncer]:
    if installed() is None:
        pytest.skip(MISSING)
    server = PgBouncer(tmp_path, postgres_url, size=PGBOUNCER_SIZE)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.forget()


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(request: pytest.FixtureRequest, bouncer: PgBouncer) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(
        bouncer.url(driver=f"+{request.param}"),
        limit=Limits(min=1, max=PGBOUNCER_SIZE, open_every_s=0.0),
        connect_args=ASYNCPG if request.param == "asyncpg" else PSYCOPG,
    )
    async with engine.begin() as connection:
        await connection.run_sync(ROWS.metadata.create_all)
    yield engine
    assert await close_engine(engine)


async def test_many_tasks_in_transactions(engine: AsyncEngine) -> None:
    async def work(n: int) -> set[int]:
        async with engine.begin() as connection:
            first = (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one()
            await connection.execute(sa.insert(ROWS), {"n": n})
            return {first, (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one()}

    pids = await asyncio.gather(*(work(n) for n in range(60)))
    assert all(len(both) == 1 for both in pids)  # a transaction stays where it began
    assert len(set[int]().union(*pids)) <= PGBOUNCER_SIZE
    pool = engine.pool
    assert isinstance(pool, AdaptivePool)
    assert (pool.gate.inflight, pool.gate.waiting) == (0, 0)
    async with engine.connect() as connection:
        count = sa.select(sa.func.count()).select_from(ROWS)
        assert (await connection.execute(count)).scalar_one() == 60


async def test_group_writes_and_streams_pass(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, ROWS)
    single = GroupWriter(engine, ROWS)

    async def one_after_the_other(start: int) -> None:
        for n in range(start, start + 10):
            await single.add({"n": n})

    tasks = [asyncio.create_task(one_after_the_other(start)) for start in range(50, 100, 10)]
    await asyncio.gather(*(writer.add({"n": n}) for n in range(50)), *tasks)
    await writer.close()
    await single.close()
    async with engine.connect() as connection:
        rows = await connection.stream(sa.select(ROWS.c.n).order_by(ROWS.c.n))
        assert [row.n async for row in rows] == list(range(100))
