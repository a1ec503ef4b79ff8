"""What the law is told about real statements."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido._sample import Outcome, Sample
from fluido.flow._label import label
from fluido.laws._base import Decision
from fluido.sqlalchemy import AdaptivePool, Limits, close_engine, create_async_engine

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


class Listening:
    """A law that keeps what it is told."""

    name = "listening"
    floor = 1.0

    def __init__(self, value: float = 2.0) -> None:
        self.value = self.ceiling = value
        self.samples: list[Sample] = []
        self._decision = Decision(value, "listening")

    def observe(self, sample: Sample, /) -> Decision:
        """Keep the sample."""
        self.samples.append(sample)
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        """Do nothing."""
        return self._decision


@pytest.fixture
def law() -> Listening:
    return Listening()


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(
    request: pytest.FixtureRequest, postgres_url: str, law: Listening
) -> AsyncIterator[AsyncEngine]:
    url = postgres_url.replace("+asyncpg", f"+{request.param}")
    engine = create_async_engine(url, limit=Limits(min=1, max=4), law=law)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE seen (n int PRIMARY KEY)"))
    law.samples.clear()
    yield engine
    await close_engine(engine)


async def test_each_statement_and_each_commit_is_a_sample(engine: AsyncEngine, law: Listening) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO seen VALUES (:n)"), {"n": 1})
        await connection.execute(text("SELECT pg_sleep(0.02)"))
    insert, sleep, commit = law.samples
    assert insert.label == "INSERT INTO seen VALUES (?)"
    assert (sleep.label, commit.label) == ("SELECT pg_sleep(?)", "COMMIT")
    assert 0.02 <= sleep.service_s < 5.0
    assert 0.0 < insert.service_s < 5.0
    assert {sample.outcome for sample in law.samples} == {Outcome.OK}
    assert {sample.inflight for sample in law.samples} == {1}


async def test_a_law_is_not_bothered_far_below_the_limit(postgres_url: str) -> None:
    law = Listening(4.0)
    engine = create_async_engine(postgres_url, limit=Limits(min=1, max=4), law=law)
    pool = engine.pool
    assert isinstance(pool, AdaptivePool)
    async with engine.connect() as one:
        await one.execute(text("SELECT 1"))
        assert (law.samples, pool.stats().completed) == ([], 1)
        async with engine.connect() as two:
            await two.execute(text("SELECT 1"))
    assert [sample.inflight for sample in law.samples] == [2]
    assert pool.stats().completed == 2
    await close_engine(engine)


async def test_the_clients_own_time_is_not_the_databases(engine: AsyncEngine, law: Listening) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await asyncio.sleep(1.0)
        await connection.execute(text("SELECT 1"))
    assert sum(sample.service_s for sample in law.samples) < 0.9


async def test_errors_are_told_as_what_they_mean(engine: AsyncEngine, law: Listening) -> None:
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT 1 / 0"))
        await connection.rollback()
        await connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
    assert [sample.outcome for sample in law.samples] == [Outcome.IGNORED, Outcome.IGNORED]


async def test_many_rows_are_many_units(engine: AsyncEngine, law: Listening) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO seen VALUES (:n)"), [{"n": n} for n in range(10, 30)])
    assert law.samples[0].units == 20.0


async def test_a_new_pool_after_dispose_tells_the_same_law(engine: AsyncEngine, law: Listening) -> None:
    await engine.dispose()
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    assert [sample.label for sample in law.samples] == ["SELECT ?"]


async def test_a_label_whose_calls_are_heavy_gets_a_lane(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(min=4, max=4))
    pool = engine.pool
    assert isinstance(pool, AdaptivePool)

    async def ask(name: str, seconds: float) -> None:
        with label(name):
            async with engine.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(:s)"), {"s": seconds})

    # The costs are told and not measured: this machine may be busy.
    for at_s in range(40):
        pool.lanes.observe(Sample("chat", at_s, at_s + 0.002, 0.0, 1, 4.0))
        pool.lanes.observe(Sample("report", at_s, at_s + 0.5, 0.0, 1, 4.0))
        pool.lanes.observe(Sample("chat", at_s, at_s + 0.002, 0.0, 1, 4.0))
    assert pool.stats().reasons.get("heavy:report") == 1
    reports = [asyncio.create_task(ask("report", 0.3)) for _ in range(4)]
    await asyncio.sleep(0)
    await ask("chat", 0.0)
    assert not any(report.done() for report in reports)
    await asyncio.gather(*reports)
    await close_engine(engine)


async def test_a_limit_above_what_the_server_grants_is_capped_and_said(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(min=1, max=5000, replicas=4))
    async with engine.connect() as connection:
        granted = int((await connection.execute(text("SHOW max_connections"))).scalar_one())
    pool = engine.pool
    assert isinstance(pool, AdaptivePool)
    assert pool.gate.cap <= 0.9 * granted / 4
    assert "max=5000 is more than the server has" in caplog.text
    await close_engine(engine)


async def test_a_pin_turns_the_law_off_and_is_told(engine: AsyncEngine, law: Listening) -> None:
    pool = engine.pool
    assert isinstance(pool, AdaptivePool)
    pool.pin(3.0)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    assert (pool.stats().pinned, pool.gate.wanted, law.samples) == (True, 3.0, [])
    pool.unpin()
    assert (pool.stats().pinned, pool.gate.wanted) == (False, 2.0)


async def test_equal_bounds_are_a_pin(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(min=3, max=3))
    pool = engine.pool
    assert isinstance(pool, AdaptivePool)
    assert (pool.stats().pinned, pool.gate.wanted) == (True, 3.0)
    await close_engine(engine)
