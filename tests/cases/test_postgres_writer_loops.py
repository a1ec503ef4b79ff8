"""A writer that outlives its loops: `asyncio.run` for every job, as in Celery or RQ."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido.sqlalchemy import GroupWriter, create_async_engine, write_behind

pytestmark = pytest.mark.servers

PATIENCE_S = 60.0
notes = sa.Table(
    "notes_of_jobs",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("owner", sa.Integer),
    sa.Column("body", sa.Text, unique=True),
)


@pytest.fixture(params=["asyncpg", "psycopg"])
def engine(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[AsyncEngine]:
    """With its table, and without a connection: each job disposes of the engine, as with stock."""
    engine = create_async_engine(postgres_url.replace("+asyncpg", f"+{request.param}"))

    async def create() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(notes.metadata.drop_all)
            await connection.run_sync(notes.metadata.create_all)
        await engine.dispose()

    asyncio.run(create())
    yield engine
    asyncio.run(engine.dispose())


def bodies(postgres_url: str) -> list[str]:
    with psycopg.connect(postgres_url.replace("+asyncpg", "")) as admin:
        return [body for (body,) in admin.execute("SELECT body FROM notes_of_jobs ORDER BY id")]


def test_a_locked_row_waits_alone_in_every_job(engine: AsyncEngine, postgres_url: str) -> None:
    """Each job ends before the writer would have looked at its lanes; the last one needs that look."""
    writer = GroupWriter(engine, notes)

    async def job(name: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(writer.add({"body": f"{name}{n}"}) for n in range(20)))
            first = asyncio.create_task(writer.add({"body": f"{name} first"}))
            for _ in range(3):
                await asyncio.sleep(0)
            await writer.add({"body": f"{name} behind it"})
            await first
        await engine.dispose()

    async def stuck() -> None:
        with psycopg.connect(postgres_url.replace("+asyncpg", "")) as other:
            other.execute("INSERT INTO notes_of_jobs (body) VALUES ('locked')")
            waiting = asyncio.create_task(writer.add({"body": "locked"}))
            await asyncio.sleep(0.05)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(writer.add({"body": f"last{n}"}) for n in range(5)))
            assert not waiting.done()
            other.rollback()
        async with asyncio.timeout(PATIENCE_S):
            await waiting
        await writer.close()
        await engine.dispose()

    asyncio.run(job("a"))
    asyncio.run(job("b"))
    asyncio.run(stuck())
    stored = bodies(postgres_url)
    assert len(stored) == len(set(stored)) == 2 * 22 + 6


def test_a_buffer_of_rows_serves_one_job_after_the_other(engine: AsyncEngine, postgres_url: str) -> None:
    """What a job leaves in it is stored by the next, or when it is closed."""
    behind = write_behind(engine, notes, staleness_s=PATIENCE_S)

    async def job(name: str) -> None:
        for n in range(3):
            behind.offer({"body": f"{name}{n}"})
        async with asyncio.timeout(PATIENCE_S):
            await behind.flush()
        behind.offer({"body": f"{name} left"})
        await engine.dispose()

    async def close() -> None:
        await behind.close(PATIENCE_S)
        await engine.dispose()

    for name in "abc":
        asyncio.run(job(name))
    asyncio.run(close())
    assert bodies(postgres_url) == [f"{job}{n}" for job in "abc" for n in (0, 1, 2, " left")]
    assert behind.rejected_items == 0
