"""AdaptivePool in front of a real PostgreSQL: what SQLAlchemy promises, and what it does not."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from fluido.sqlalchemy import AdaptivePool, Limits, close_engine, create_async_engine

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


def pool_of(engine: AsyncEngine) -> AdaptivePool:
    assert isinstance(engine.pool, AdaptivePool)
    return engine.pool


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[AsyncEngine]:
    url = postgres_url.replace("+asyncpg", f"+{request.param}")
    engine = create_async_engine(url, limit=Limits(min=1, max=4))
    yield engine
    assert await close_engine(engine)


async def test_transactions_savepoints_and_streams(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TEMPORARY TABLE kept (n int PRIMARY KEY)"))
        await connection.execute(text("INSERT INTO kept SELECT generate_series(1, 120)"))
        with pytest.raises(IntegrityError):
            async with connection.begin_nested():
                await connection.execute(text("INSERT INTO kept VALUES (1)"))
        result = await connection.stream(text("SELECT n FROM kept ORDER BY n"))
        assert [row.n async for row in result] == list(range(1, 121))


async def test_sessions_commit_and_expire(engine: AsyncEngine) -> None:
    sessions = async_sessionmaker(engine)
    async with sessions() as session, session.begin():
        assert (await session.execute(text("SELECT 41 + 1"))).scalar_one() == 42
    assert pool_of(engine).checkedout() == 0


async def test_twenty_tasks_share_four_connections_fairly(engine: AsyncEngine) -> None:
    turns = [0] * 20
    most = 0
    end_s = time.perf_counter() + 0.8

    async def worker(index: int) -> None:
        nonlocal most
        while time.perf_counter() < end_s:
            async with engine.connect() as connection:
                most = max(most, pool_of(engine).checkedout())
                await connection.execute(text("SELECT pg_sleep(0.005)"))
            turns[index] += 1

    await asyncio.gather(*(worker(index) for index in range(20)))
    assert most == 4
    assert max(turns) - min(turns) <= 3


async def test_beyond_the_start_connections_are_opened_one_after_the_other(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(min=1, max=20, start=1, open_every_s=0.03))
    pool_of(engine).pin(20)
    opened_s: list[float] = []
    event.listen(engine.sync_engine, "do_connect", lambda *_: opened_s.append(time.perf_counter()))

    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(0.02)"))

    await asyncio.gather(*(ask() for _ in range(50)))
    await close_engine(engine)
    assert len(opened_s) > 2
    # The one that is always there and the first that is added may begin together; a timer may be late.
    assert opened_s[-1] - opened_s[1] >= 0.03 * (len(opened_s) - 2) - 0.02


async def test_a_killed_backend_costs_one_error_and_replaces_the_generation(engine: AsyncEngine) -> None:
    async with engine.connect() as victim, engine.connect() as other:
        pid = (await victim.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(DBAPIError) as caught:
            await victim.execute(text("SELECT 1"))
        assert caught.value.connection_invalidated
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    assert pool_of(engine).checkedout() == 0


async def test_pre_ping_hides_a_connection_that_died_while_idle(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(min=1, max=1), pool_pre_ping=True)
    killer = create_async_engine(postgres_url, limit=Limits(min=1, max=1))
    async with engine.connect() as connection:
        pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    async with killer.connect() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid, 1000)"), {"pid": pid})
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one() != pid
    await close_engine(engine)
    await close_engine(killer)


async def test_pool_recycle_replaces_old_connections(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(min=1, max=1), pool_recycle=0)
    pids = []
    for _ in range(2):
        async with engine.connect() as connection:
            pids.append((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())
    assert pids[0] != pids[1]
    await close_engine(engine)


async def test_isolation_level_and_execution_options_stay_per_checkout(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="SERIALIZABLE")
        level = (await connection.execute(text("SHOW transaction_isolation"))).scalar_one()
        assert level == "serializable"
    async with engine.connect() as connection:
        assert (await connection.execute(text("SHOW transaction_isolation"))).scalar_one() == "read committed"


async def test_dispose_reopens_and_close_does_not(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(min=1, max=2))
    async with AsyncSession(engine) as session:
        await session.execute(text("SELECT 1"))
    await engine.dispose()
    async with AsyncSession(engine) as session:
        await session.execute(text("SELECT 1"))
    await close_engine(engine)
    assert pool_of(engine).checkedin() == 0


ROWS = text("SELECT n, pg_sleep(0.002) FROM generate_series(1, 3000) AS n")


async def straight(engine: AsyncEngine) -> AsyncIterator[int]:
    async with engine.connect() as connection:
        async for row in await connection.stream(ROWS):
            yield row.n


async def twice_wrapped(engine: AsyncEngine) -> AsyncIterator[int]:
    async for n in straight(engine):
        yield n


async def in_a_task(engine: AsyncEngine) -> AsyncIterator[int]:
    async with engine.connect() as connection:
        rows = await connection.stream(ROWS)
        while row := await asyncio.create_task(rows.fetchone()):
            yield row.n


@pytest.mark.parametrize("reader", [straight, twice_wrapped, in_a_task])
async def test_reading_a_stream_is_not_holding_a_connection_idle(
    engine: AsyncEngine,
    caplog: pytest.LogCaptureFixture,
    reader: Callable[[AsyncEngine], AsyncIterator[int]],
) -> None:
    pool = pool_of(engine)
    reading = asyncio.Event()

    async def read() -> None:
        async for n in reader(engine):
            if n == 60:
                reading.set()

    task = asyncio.create_task(read())
    await reading.wait()
    await asyncio.sleep(0.01)
    (hold,) = pool.holds.values()
    assert hold.working_since_s is None
    hold.taken_s -= 100.0
    with caplog.at_level("WARNING", "fluido.sqlalchemy"):
        pool.keeper.sweep()
        await asyncio.sleep(0.05)
        pool.keeper.sweep()
    assert not caplog.records
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_server_that_accepts_and_never_answers_costs_the_connect_timeout() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = create_async_engine(
        f"postgresql+asyncpg://nobody@127.0.0.1:{port}/x",
        limit=Limits(min=1, max=1),
        pool_timeout=0.3,
        connect_args={"timeout": 0.1},
    )
    started_s = time.perf_counter()
    results = await asyncio.gather(*(engine.connect().start() for _ in range(40)), return_exceptions=True)
    assert time.perf_counter() - started_s < 6.0, "12 s if one waited after the other"
    assert all(isinstance(result, TimeoutError) for result in results)
    assert pool_of(engine).gate.inflight == 0
    await close_engine(engine)
    server.close()
