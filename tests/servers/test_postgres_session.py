"""The customer's session on a real PostgreSQL: commits, rolls back, and nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.adaptive_buffers import POLICY, DataFlowType
from app.db.dynamic_session import DynamicPostgreSQLSession
from fluido.errors import Closed

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

INSERT = text("INSERT INTO session_rows (name) VALUES (:name)")
LEFT_OPEN = text(
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'session-test'"
    " AND state LIKE 'idle in transaction%'"
)


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[DynamicPostgreSQLSession]:
    small = replace(POLICY[DataFlowType.DATABASE_QUERY], pool_min_size=1, pool_max_size=4)
    db = DynamicPostgreSQLSession(postgres_url, policy=small)
    async with db.engine.begin() as connection:
        await connection.execute(text("DROP TABLE IF EXISTS session_rows"))
        await connection.execute(text("CREATE TABLE session_rows (name text PRIMARY KEY)"))
    yield db
    async with db.engine.begin() as connection:
        await connection.execute(text("DROP TABLE session_rows"))
    await db.close()


async def names(db: DynamicPostgreSQLSession) -> list[str]:
    async with db.engine.connect() as connection:
        return list((await connection.execute(text("SELECT name FROM session_rows ORDER BY 1"))).scalars())


def assert_nothing_is_out(db: DynamicPostgreSQLSession) -> None:
    assert (db.pool.gate.inflight, db.pool.gate.waiting, db.pool.checkedout()) == (0, 0, 0)


async def test_commits_at_the_end_of_the_block(db: DynamicPostgreSQLSession) -> None:
    async with db.get_session() as session:
        await session.execute(INSERT, {"name": "kept"})
    assert await names(db) == ["kept"]
    assert_nothing_is_out(db)


async def test_rolls_back_on_an_error_which_passes(db: DynamicPostgreSQLSession) -> None:
    async def fail() -> None:
        async with db.get_session() as session:
            await session.execute(INSERT, {"name": "lost"})
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()
    async with db.get_session() as session:
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT 1 / 0"))
        await session.rollback()
    assert await names(db) == []
    assert_nothing_is_out(db)


async def test_works_as_a_dependency_of_fastapi(db: DynamicPostgreSQLSession) -> None:
    app = FastAPI()

    @app.post("/rows/{name}")
    async def add(name: str, session: Annotated[AsyncSession, Depends(db.get_session)]) -> dict[str, Any]:
        await session.execute(INSERT, {"name": name})
        if name == "bad":
            raise ValueError(name)
        return {"pid": (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()}

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post("/rows/good")).status_code == 200
        assert (await client.post("/rows/bad")).status_code == 500
        schema = (await client.get("/openapi.json")).json()
    assert await names(db) == ["good"]
    assert [it["name"] for it in schema["paths"]["/rows/{name}"]["post"]["parameters"]] == ["name"]
    assert_nothing_is_out(db)


@pytest.mark.parametrize("steps", range(0, 24, 2))
async def test_cancelled_at_any_await_leaks_nothing(db: DynamicPostgreSQLSession, steps: int) -> None:
    async def work() -> None:
        async with db.get_session() as session:
            await session.execute(text("SET application_name = 'session-test'"))
            await session.execute(INSERT, {"name": f"row-{steps}"})
            await session.execute(text("SELECT pg_sleep(0.001)"))

    task = asyncio.create_task(work())
    for _ in range(steps):
        # A turn of the loop is not a sleep of its own: it lets the task take its next await.
        await asyncio.sleep(0.0005 if steps > 8 else 0)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    assert result is None or isinstance(result, asyncio.CancelledError)
    assert_nothing_is_out(db)
    # Committed or not, never in between; and no connection was left inside a transaction.
    assert await names(db) in ([], [f"row-{steps}"])
    if result is None:
        assert await names(db) == [f"row-{steps}"]
    async with db.engine.connect() as connection:
        assert (await connection.execute(LEFT_OPEN)).scalar_one() == 0


async def test_takes_no_connection_before_its_first_statement(db: DynamicPostgreSQLSession) -> None:
    async with db.get_session() as session:
        assert db.pool.checkedout() == 0
        await session.execute(text("SELECT 1"))
        assert db.pool.checkedout() == 1
        await session.commit()
        assert db.pool.checkedout() == 0


async def test_check_and_stats_tell_the_state(db: DynamicPostgreSQLSession) -> None:
    await db.check()
    stats = db.stats()
    assert (stats.name, stats.kind, stats.inflight) == ("postgresql", "pool", 0)
    assert (stats.floor, stats.ceiling) >= (1.0, 4.0)


async def test_close_drains_and_stays_closed(postgres_url: str) -> None:
    db = DynamicPostgreSQLSession(postgres_url)
    async with db.get_session() as session:
        await session.execute(text("SELECT 1"))
        closing = asyncio.create_task(db.close())
        await asyncio.sleep(0)
        assert not closing.done()
    await closing
    await db.close()
    with pytest.raises(Closed):
        db.get_session()
    with pytest.raises(Closed):
        await db.check()


async def test_an_unreachable_server_is_an_error_at_once() -> None:
    db = DynamicPostgreSQLSession("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await db.check()
    assert_nothing_is_out(db)
    await db.close()
