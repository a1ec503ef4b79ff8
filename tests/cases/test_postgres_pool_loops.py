"""Several event loops, threads, and engines that close while something is under way: beside stock.

pytest-dev/pytest-asyncio#402, sqlalchemy/sqlalchemy#5626 (a loop per test), skypilot-org/skypilot#8725 (one
per job), sqlalchemy/sqlalchemy#8145 (what is left behind).
"""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine as create_stock_engine

from fluido.errors import Closed
from fluido.sqlalchemy import Limits, close_engine, create_async_engine, pool_of

pytestmark = pytest.mark.servers

ONE = sa.text("SELECT 1")
PATIENCE_S = 10.0
POOLS = ("stock", "fixed", "adaptive")


@pytest.fixture(params=["asyncpg", "psycopg"])
def any_url(request: pytest.FixtureRequest, postgres_url: str) -> str:
    return postgres_url.replace("+asyncpg", f"+{request.param}")


@pytest.fixture
def url(any_url: str, postgres_url: str) -> Iterator[str]:
    """The same, of a database that nobody may be connected to in the end."""
    yield any_url
    with psycopg.connect(postgres_url.replace("+asyncpg", ""), autocommit=True) as admin:
        mine = "FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
        for _ in range(100):
            (left,) = admin.execute(f"SELECT count(*) {mine}").fetchone() or (0,)
            if not left:
                break
            admin.execute("SELECT pg_sleep(0.05)")
        assert left == 0, "a connection was left open"


def crowded(url: str) -> AsyncEngine:
    """A pool that always has somebody waiting, with all of its timers set."""
    limits = Limits(min=1, max=8, start=2, open_every_s=0.01)
    return create_async_engine(url, limit=limits, pool_timeout=PATIENCE_S)


async def crowd(engine: AsyncEngine) -> None:
    async def request() -> None:
        async with engine.connect() as connection:
            await connection.execute(ONE)
            await asyncio.sleep(0.01)
            await connection.execute(ONE)

    await asyncio.gather(*(request() for _ in range(12)))


def assert_nothing_is_out(engine: AsyncEngine) -> None:
    pool = pool_of(engine)
    gate = pool.gate
    assert (gate.inflight, gate.lent, gate.waiting, pool.gate.opening, len(pool.holds)) == (0, 0, 0, 0, 0)


def test_a_loop_for_every_job_with_dispose(url: str) -> None:
    engine = crowded(url)

    async def job() -> None:
        await crowd(engine)
        await engine.dispose()

    for _ in range(3):
        asyncio.run(job())
        assert_nothing_is_out(engine)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [create_stock_engine, create_async_engine, crowded], ids=POOLS)
def test_a_loop_for_every_job_without_dispose_ends_as_with_stock(
    any_url: str, make: Callable[[str], AsyncEngine]
) -> None:
    """asyncpg's connections die with their loop, psycopg's do not. No pool stands still over it.

    Which of the dead connections a job meets, and in what it ends, is chance with stock too: so each pool,
    stock's among them, is held to what must always be so, and no run of one is compared with one of another.
    """
    engine = make(any_url)
    ended: list[BaseException | None] = []
    for _ in range(3):
        try:
            asyncio.run(asyncio.wait_for(crowd(engine), 2 * PATIENCE_S))
            ended.append(None)
        except (RuntimeError, sa.exc.SQLAlchemyError) as error:
            ended.append(error)
    first, *later = ended
    assert first is None
    # A job ends with what its driver says of a dead connection, and never by waiting for one in vain.
    assert not any(isinstance(error, TimeoutError | sa.exc.TimeoutError) for error in later)
    if "psycopg" in any_url:
        assert later == [None, None]
    asyncio.run(engine.dispose())
    asyncio.run(crowd(engine))
    asyncio.run(engine.dispose())
    if make is not create_stock_engine:
        assert_nothing_is_out(engine)
    del engine, ended, later
    gc.collect()  # asyncpg complains of what its loop left, with any pool: here, and not in the next test


@pytest.mark.filterwarnings("ignore")
def test_what_a_loop_ended_over_comes_back_without_dispose(postgres_url: str) -> None:
    """The connections of callers that failed or were cancelled, once nobody knows them any more.

    Now and then a loop ends over the closing of a connection, which then waits for its driver for ever. Such
    a one stays out with stock too, so that one of three engines may keep something.
    """
    out = []
    for _ in range(3):
        engine = crowded(postgres_url)
        for _ in range(3):
            with suppress(RuntimeError, sa.exc.SQLAlchemyError):
                asyncio.run(asyncio.wait_for(crowd(engine), 2 * PATIENCE_S))
        gc.collect()
        out.append(len(pool_of(engine).holds))
        asyncio.run(engine.dispose())
        if not out[-1]:
            assert_nothing_is_out(engine)
            return
    raise AssertionError(f"{out} connections of 8 stayed out")


def test_timers_of_a_loop_that_is_gone_do_not_keep_the_next_one_waiting(url: str) -> None:
    engine = crowded(url)

    async def cut_off() -> None:
        async with asyncio.timeout(PATIENCE_S):
            tasks = [asyncio.create_task(crowd(engine)) for _ in range(4)]
            while not pool_of(engine).gate.waiting:  # noqa: ASYNC110  (a gate tells nobody of its numbers)
                await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await engine.dispose()

    for _ in range(2):
        asyncio.run(cut_off())
        assert_nothing_is_out(engine)
    asyncio.run(whole(engine))


async def whole(engine: AsyncEngine) -> None:
    await crowd(engine)
    assert await close_engine(engine)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("granted", [False, True])
def test_waiters_of_a_loop_that_was_closed_over_them_are_passed_over(any_url: str, granted: bool) -> None:
    """Nobody should close a loop over tasks that wait, and people do."""
    engine = create_async_engine(any_url, limit=Limits(1, 1), pool_timeout=PATIENCE_S)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)

    async def leave_one_waiting() -> Any:
        held = await engine.connect().start()
        await held.execute(ONE)
        waiter = asyncio.ensure_future(engine.connect().start())
        await asyncio.sleep(0.01)
        assert pool_of(engine).gate.waiting == 1
        if granted:
            await held.close()
        return held, waiter

    held, waiter = loop.run_until_complete(leave_one_waiting())
    waiter._log_destroy_pending = False
    loop.close()

    async def go_on() -> None:
        async with engine.connect() as connection:
            assert (await connection.execute(ONE)).scalar_one() == 1
        assert await close_engine(engine)

    async def give_back() -> None:
        await held.invalidate()
        await held.close()

    if granted:
        del waiter
        gc.collect()
        asyncio.run(engine.dispose())
    else:
        asyncio.run(give_back())
    asyncio.run(go_on())
    assert_nothing_is_out(engine)
    if not granted:
        # Left to the collector it may be closed inside of another test's greenlet, and greenlet raises its
        # GeneratorExit in the parent of both: that test would fail.
        del waiter
        gc.collect()


def in_threads(count: int, work: Callable[[], Awaitable[None]]) -> list[BaseException | None]:
    """Run it in so many threads at once, each with a loop of its own."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            asyncio.run(asyncio.wait_for(work(), 2 * PATIENCE_S))
            ended.append(None)
        except BaseException as error:  # noqa: BLE001  (told to who asks)
            ended.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * PATIENCE_S)
        assert not thread.is_alive(), "it hangs"
    return ended


def test_two_threads_with_a_loop_each_and_a_driver_that_allows_it(postgres_url: str) -> None:
    """psycopg's connections belong to no loop: with stock this works, and so it must here, also waiting."""
    url = postgres_url.replace("+asyncpg", "+psycopg")
    for engine in (
        create_stock_engine(url, pool_size=4, pool_timeout=PATIENCE_S),
        create_async_engine(url, pool_size=4, max_overflow=0, pool_timeout=PATIENCE_S),
        create_async_engine(url, limit=Limits(1, 8, start=2), pool_timeout=PATIENCE_S),
    ):

        async def work(engine: AsyncEngine = engine) -> None:
            for _ in range(20):
                await asyncio.gather(*(ask(engine) for _ in range(3)))

        asyncio.run(ask(engine))  # SQLAlchemy's own first connect has a lock that belongs to one loop
        assert in_threads(2, work) == [None, None]
        asyncio.run(engine.dispose())
    assert_nothing_is_out(engine)


async def ask(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(ONE)


@pytest.mark.parametrize("close", [close_engine, AsyncEngine.dispose])
def test_an_engine_that_closes_while_connections_are_opened(url: str, close: Any) -> None:
    async def main() -> None:
        engine = create_async_engine(url, limit=Limits(min=3, max=8))
        pool = pool_of(engine)
        asked = asyncio.Event()
        event.listen(engine.sync_engine, "do_connect", lambda *_: asked.set())
        tasks = [asyncio.create_task(ask(engine)) for _ in range(6)]
        await asked.wait()
        assert pool.gate.opening
        await close(engine)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(error is None or isinstance(error, Closed) for error in ended)
        assert pool.checkedout() == pool.checkedin() == pool._opened == 0
        await engine.dispose()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, "a task was left"

    asyncio.run(main())


def test_a_connection_that_the_keeper_was_opening_is_not_left(url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(url, limit=Limits(min=3, max=8))
        await ask(engine)
        pool = pool_of(engine)
        asked = asyncio.Event()
        event.listen(engine.sync_engine, "do_connect", lambda *_: asked.set())
        pool.keeper.sweep()
        await asked.wait()
        assert await close_engine(engine)
        async with asyncio.timeout(PATIENCE_S):
            while pool.gate.opening or pool._opened:  # noqa: ASYNC110  (as above)
                await asyncio.sleep(0.001)

    asyncio.run(main())


def test_what_is_held_over_dispose_is_closed_when_it_comes_back(url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(url, limit=Limits(min=1, max=8))
        before = pool_of(engine)
        async with engine.connect() as connection:
            await connection.execute(ONE)
            await engine.dispose()
            await connection.execute(ONE)
        assert (before.checkedin(), before.checkedout()) == (0, 0)
        assert pool_of(engine) is not before
        await ask(engine)
        await engine.dispose()

    asyncio.run(main())
