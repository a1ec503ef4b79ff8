"""Reads on a real standby: while it is proven recent, and not a moment longer."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db.dynamic_session import DynamicPostgreSQLSession
from embedded.folder import DataFolder
from embedded.postgres import Postgres
from embedded.standby import Standby
from fluido.errors import Closed
from fluido.sqlalchemy import Limits, ReadReplicas, close_engine, create_async_engine

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

IS_STANDBY = sa.text("SELECT pg_is_in_recovery()")
INSERT = sa.text("INSERT INTO notes VALUES (:n)")


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Answer the time in seconds."""
        return self.now_s


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Standby]]:
    data = DataFolder(None)
    primary = Postgres(data.take(), durable=False, settings={"synchronous_commit": "on"})
    standby = Standby(primary, durable=False)
    try:
        primary.start()
        primary.query("CREATE TABLE notes (n int)")
        standby.start()
        standby.wait_for_all()
        yield primary, standby
    finally:
        standby.stop()
        primary.stop()
        data.release()


@pytest.fixture
async def engines(servers: tuple[Postgres, Standby]) -> AsyncIterator[list[AsyncEngine]]:
    limits = Limits(min=1, max=4)
    engines = [create_async_engine(server.url(), limit=limits) for server in servers]
    yield engines
    for engine in engines:
        await close_engine(engine)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def replicas(engines: list[AsyncEngine], clock: Clock) -> AsyncIterator[ReadReplicas]:
    async with ReadReplicas(engines[0], engines[1:], max_lag_s=1e6, clock=clock) as replicas:
        # The task of `replicas` asks seldom at this bound: the tests look themselves.
        replicas.max_lag_s = 1.0
        yield replicas


async def on_a_standby(replicas: ReadReplicas, *, after: int | str | None = None) -> bool:
    async with replicas.connect(after=after) as connection:
        return bool((await connection.execute(IS_STANDBY)).scalar_one())


async def write(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(INSERT, {"n": 1})


async def test_reads_go_to_a_recent_standby(replicas: ReadReplicas) -> None:
    await replicas.look()
    assert await on_a_standby(replicas)
    assert replicas.lags_s() == [0.0]


async def test_a_standby_over_the_bound_is_not_read(
    replicas: ReadReplicas, engines: list[AsyncEngine], servers: tuple[Postgres, Standby], clock: Clock
) -> None:
    _, standby = servers
    await replicas.look()
    standby.query("SELECT pg_wal_replay_pause()")
    try:
        await write(engines[0])
        clock.now_s += 0.9
        await replicas.look()
        assert await on_a_standby(replicas)  # it may miss the row: that is what the bound allows
        own = await replicas.position()
        assert not await on_a_standby(replicas, after=own)  # but not for who has written it
        clock.now_s += 0.2
        await replicas.look()
        assert replicas.lags_s() == [pytest.approx(1.1)]
        assert not await on_a_standby(replicas)
    finally:
        standby.query("SELECT pg_wal_replay_resume()")
    standby.wait_for_all()
    await replicas.look()
    assert await on_a_standby(replicas, after=own)


async def test_nobody_looked_for_longer_than_the_bound(replicas: ReadReplicas, clock: Clock) -> None:
    await replicas.look()
    clock.now_s += 1.5
    assert not await on_a_standby(replicas)


async def test_either_way_nothing_can_be_written(replicas: ReadReplicas, clock: Clock) -> None:
    for later_s in (0.0, 5.0):
        clock.now_s += later_s
        async with replicas.connect() as connection:
            with pytest.raises(DBAPIError, match="read-only transaction"):
                await connection.execute(INSERT, {"n": 2})
    async with replicas.primary.begin() as connection:
        await connection.execute(INSERT, {"n": 3})  # the connection that was read from is writable again


async def test_a_standby_that_died_costs_nobody_an_error(
    replicas: ReadReplicas, servers: tuple[Postgres, Standby], caplog: pytest.LogCaptureFixture
) -> None:
    _, standby = servers
    await replicas.look()
    await asyncio.to_thread(standby.stop)
    try:
        assert not await on_a_standby(replicas)
        with caplog.at_level(logging.WARNING, "fluido.sqlalchemy"):
            await replicas.look()
            await replicas.look()
        assert len([record for record in caplog.records if "does not tell" in record.getMessage()]) == 1
    finally:
        await asyncio.to_thread(standby.start)
    await asyncio.to_thread(standby.wait_for_all)
    await replicas.look()
    assert await on_a_standby(replicas)


async def test_the_customers_session_reads_there(servers: tuple[Postgres, Standby]) -> None:
    primary, standby = servers
    db = DynamicPostgreSQLSession(primary.url(), replica_urls=[standby.url()], max_replica_lag_s=30.0)
    async with db.get_read_session() as session:
        assert (await session.execute(IS_STANDBY)).scalar_one()
    async with db.get_session() as session:
        assert not (await session.execute(IS_STANDBY)).scalar_one()
    await db.close()
    with pytest.raises(Closed):
        db.get_read_session()


async def test_without_replicas_the_customers_reads_are_the_primarys(postgres_url: str) -> None:
    db = DynamicPostgreSQLSession(postgres_url)
    async with db.get_read_session() as session:
        assert not (await session.execute(IS_STANDBY)).scalar_one()
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await session.execute(sa.text("CREATE TABLE nothing (n int)"))
    await db.close()


async def test_a_promoted_standby_is_not_read_any_more(engines: list[AsyncEngine]) -> None:
    # A primary answers the standby's question with NULL, as a promoted standby does.
    async with ReadReplicas(engines[0], engines[:1]) as replicas:
        assert not await on_a_standby(replicas)
        assert replicas.lags_s() == [float("inf")]


async def test_a_bound_of_nothing_is_refused(engines: list[AsyncEngine]) -> None:
    with pytest.raises(ValueError, match="max_lag_s"):
        ReadReplicas(engines[0], engines[1:], max_lag_s=0.0)


async def test_what_was_just_written_is_read_on_the_standby_that_has_it(
    replicas: ReadReplicas, engines: list[AsyncEngine], servers: tuple[Postgres, Standby]
) -> None:
    _, standby = servers
    await replicas.look()
    for form in ("ours", "PostgreSQL's"):
        await write(engines[0])
        position: int | str = await replicas.position()
        standby.wait_for_all()
        # Nobody has looked since; the standby is asked before the primary is read.
        if form == "PostgreSQL's":
            async with engines[0].connect() as connection:
                position = (
                    await connection.execute(sa.text("SELECT pg_current_wal_flush_lsn()::text"))
                ).scalar_one()
            standby.wait_for_all()
        assert await on_a_standby(replicas, after=position)
    asked = await asyncio.gather(*(on_a_standby(replicas, after=position) for _ in range(20)))
    assert all(asked)


@pytest.mark.parametrize(("after", "error"), [("yesterday", ValueError), (3.5, TypeError)])
async def test_what_is_no_position_is_refused_in_words(
    replicas: ReadReplicas, after: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="0/16B3748"):
        await on_a_standby(replicas, after=after)


async def test_replicas_that_are_not_open_do_not_read_the_primary_in_silence(
    engines: list[AsyncEngine],
) -> None:
    replicas = ReadReplicas(engines[0], engines[1])  # one engine will do
    with pytest.raises(Closed, match="were not opened"):
        await on_a_standby(replicas)
    with pytest.raises(Closed, match="were not opened"):
        replicas.engine()
    async with replicas:
        await on_a_standby(replicas)
    with pytest.raises(Closed, match="were closed"):
        await on_a_standby(replicas)
