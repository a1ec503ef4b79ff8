"""The pool without a server: order, bounds, and nothing lost on any way out."""

import asyncio
import gc
from typing import Any

import pytest
from sqlalchemy import event, exc
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from fluido.errors import Closed, LimitReached, WaitTimeout
from fluido.flow._label import label
from fluido.sqlalchemy import AdaptivePool, PoolQueueFull, PoolTimeout

from .fake_driver import FakeDriver

pytestmark = pytest.mark.anyio


async def take(pool: AdaptivePool) -> PoolProxiedConnection:
    return await greenlet_spawn(pool.connect)


async def give(connection: PoolProxiedConnection) -> None:
    await greenlet_spawn(connection.close)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def assert_nothing_is_out(pool: AdaptivePool) -> None:
    assert (pool.gate.inflight, pool.gate.waiting, len(pool.holds)) == (0, 0, 0)
    assert pool.checkedout() == 0


async def test_a_connection_is_opened_once_and_used_again() -> None:
    driver = FakeDriver()
    pool = driver.pool()
    for _ in range(3):
        await give(await take(pool))
    assert len(driver.connections) == 1
    assert driver.connections[0].rollbacks == 3
    assert_nothing_is_out(pool)


async def test_waiters_are_served_in_order_and_nobody_overtakes() -> None:
    driver = FakeDriver()
    pool = driver.pool(max=1)
    order: list[str] = []

    async def worker(name: str, rounds: int) -> None:
        for _ in range(rounds):
            connection = await take(pool)
            order.append(name)
            await asyncio.sleep(0)
            await give(connection)

    await asyncio.gather(*(worker(name, 3) for name in "abc"))
    assert order == list("abc" * 3)
    assert_nothing_is_out(pool)


async def test_never_more_connections_than_max() -> None:
    driver = FakeDriver()
    pool = driver.pool(max=3)
    most = 0

    async def worker() -> None:
        nonlocal most
        connection = await take(pool)
        most = max(most, pool.checkedout())
        await asyncio.sleep(0)
        await give(connection)

    await asyncio.gather(*(worker() for _ in range(50)))
    assert most == 3
    assert len(driver.connections) == 3


async def test_waiting_too_long_is_the_timeout_that_sqlalchemy_raises() -> None:
    pool = FakeDriver().pool(max=1, timeout=0.01)
    connection = await take(pool)
    with pytest.raises(exc.TimeoutError, match=r"gave no connection in 0\.\d+ s .* Waiting: 0") as caught:
        await take(pool)
    assert isinstance(caught.value, PoolTimeout)
    assert isinstance(caught.value, WaitTimeout)
    assert isinstance(caught.value, TimeoutError)
    await give(connection)
    assert_nothing_is_out(pool)


async def test_a_full_queue_refuses_at_once() -> None:
    pool = FakeDriver().pool(max=1, max_waiting=1)
    connection = await take(pool)
    waiter = asyncio.create_task(take(pool))
    await turns()
    with pytest.raises(PoolQueueFull) as caught:
        await take(pool)
    assert isinstance(caught.value, exc.TimeoutError)
    assert isinstance(caught.value, LimitReached)
    assert caught.value.waiting == 1
    await give(connection)
    await give(await waiter)
    assert pool.stats().refused == 1


async def test_ten_thousand_waiting_tasks_are_all_served() -> None:
    pool = FakeDriver().pool(max=10, timeout=None)
    served = 0

    async def worker() -> None:
        nonlocal served
        await give(await take(pool))
        served += 1

    await asyncio.gather(*(worker() for _ in range(10_000)))
    assert served == 10_000
    assert_nothing_is_out(pool)


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_at_any_step_a_caller_leaves_nothing_behind(steps: int) -> None:
    driver = FakeDriver()
    driver.opening = asyncio.Event()
    pool = driver.pool(max=1)

    async def work() -> None:
        connection = await take(pool)
        try:
            await asyncio.sleep(0)
        finally:
            await give(connection)

    first, second = asyncio.create_task(work()), asyncio.create_task(work())
    asyncio.get_running_loop().call_later(0.001, driver.opening.set)
    await turns(steps)
    first.cancel()
    await turns(2)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert_nothing_is_out(pool)
    driver.opening.set()
    await give(await take(pool))
    assert driver.open_connections == 1


async def test_a_failed_open_gives_the_permit_to_the_next() -> None:
    driver = FakeDriver()
    pool = driver.pool(max=1)
    driver.broken = OSError("connection refused")
    results = await asyncio.gather(*(take(pool) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3
    driver.broken = None
    await give(await take(pool))
    assert_nothing_is_out(pool)


async def test_an_invalidated_connection_is_replaced_in_its_place() -> None:
    driver = FakeDriver()
    pool = driver.pool(max=1)
    connection = await take(pool)
    await greenlet_spawn(connection.invalidate)
    assert_nothing_is_out(pool)
    await give(await take(pool))
    assert [it.closed for it in driver.connections] == [True, False]


async def test_a_detached_connection_frees_its_place() -> None:
    driver = FakeDriver()
    pool = driver.pool(max=1)
    connection = await take(pool)
    connection.detach()
    assert_nothing_is_out(pool)
    await give(await take(pool))
    assert len(driver.connections) == 2


async def test_a_forgotten_connection_is_found_by_the_garbage_collector() -> None:
    pool = FakeDriver().pool(max=1)
    forgotten: Any = [await take(pool)]
    with pytest.warns(exc.SAWarning, match="non-checked-in connection"):
        forgotten.clear()
    gc.collect()
    assert_nothing_is_out(pool)
    await give(await take(pool))


async def test_events_are_those_of_the_stock_pool() -> None:
    pool = FakeDriver().pool(max=1)
    seen: list[str] = []
    for name in ("first_connect", "connect", "checkout", "checkin", "reset", "invalidate", "close"):
        event.listen(pool, name, lambda *_, name=name: seen.append(name))
    await give(await take(pool))
    await greenlet_spawn((await take(pool)).invalidate)
    first = ["first_connect", "connect", "checkout", "reset", "checkin"]
    assert seen == [*first, "checkout", "invalidate", "close", "checkin"]


async def test_dispose_closes_what_is_idle_and_recreate_goes_on() -> None:
    driver = FakeDriver()
    pool = driver.pool(max=4)
    held = await take(pool)
    await give(await take(pool))
    await greenlet_spawn(pool.dispose)
    assert driver.open_connections == 1
    again = pool.recreate()
    assert (again.limits, again.law, again.timeout()) == (pool.limits, pool.law, 30.0)
    await give(held)
    assert_nothing_is_out(pool)
    await give(await take(again))


async def test_drain_waits_for_the_holders_and_refuses_everybody_else() -> None:
    driver = FakeDriver()
    pool = driver.pool(max=1)
    held = await take(pool)
    waiter = asyncio.create_task(take(pool))
    await turns()
    drain = asyncio.create_task(pool.drain(5.0))
    await turns()
    with pytest.raises(Closed):
        await waiter
    with pytest.raises(Closed):
        await take(pool)
    assert not drain.done()
    await give(held)
    assert await drain
    assert driver.open_connections == 0
    assert await pool.drain(0.0)


async def test_drain_says_when_somebody_did_not_give_back() -> None:
    pool = FakeDriver().pool(max=1)
    held = await take(pool)
    assert not await pool.drain(0.0)
    await give(held)


async def test_a_checkout_without_statement_timing_is_one_sample() -> None:
    pool = FakeDriver().pool(max=1)
    with label("report"):
        await give(await take(pool))
    stats = pool.stats()
    assert (stats.kind, stats.completed, stats.admitted, stats.ceiling) == ("pool", 1, 1, 1.0)


async def test_the_next_holder_inherits_nothing() -> None:
    pool = FakeDriver().pool(max=1)
    connection = await take(pool)
    (hold,) = pool.holds.values()
    hold.database_s, hold.reported = 5.0, True
    await give(connection)
    assert hold.task is None
    assert not pool.holds
    connection = await take(pool)
    (hold,) = pool.holds.values()
    assert (hold.database_s, hold.reported) == (0.0, False)
    assert hold.task is not None
    assert hold.task() is asyncio.current_task()
    await give(connection)


async def test_callers_who_did_not_wait_are_in_the_waits() -> None:
    pool = FakeDriver().pool(max=1)
    for _ in range(3):
        await give(await take(pool))
    first = await take(pool)
    second = asyncio.create_task(take(pool))
    await turns()
    await give(first)
    await give(await second)
    stats = pool.stats()
    assert stats.wait_ms_p50 == 0.0
    assert stats.wait_ms_p99 > 0.0
    assert pool.stats().wait_ms_p50 == 0.0


async def test_the_place_of_a_holder_is_found_without_a_traceback_at_checkout() -> None:
    pool = FakeDriver().pool(max=1)
    asleep = asyncio.Event()

    async def awaits_something_slow() -> None:
        await asleep.wait()

    async def holder() -> None:
        connection = await take(pool)
        await awaits_something_slow()
        await give(connection)

    task = asyncio.create_task(holder())
    await turns()
    (hold,) = pool.holds.values()
    assert "holder > " in hold.place()
    assert "awaits_something_slow" in hold.place()
    asleep.set()
    await task


def test_the_numbers_of_the_stock_pool() -> None:
    pool = AdaptivePool(FakeDriver(), pool_size=3, max_overflow=4)
    assert (pool.size(), pool.checkedin(), pool.checkedout(), pool.overflow(), pool.timeout()) == (
        3,
        0,
        0,
        -3,
        30.0,
    )
    assert pool.limits.max == 7
    assert "Pool size: 3  Connections in pool: 0 Current Overflow: -3" in pool.status()
    assert AdaptivePool(FakeDriver(), pool_size=0).limits.max == 1_000_000
    with pytest.raises(exc.ArgumentError, match="pool_size=-1"):
        AdaptivePool(FakeDriver(), pool_size=-1)


async def test_its_limiter_counts_as_a_limiter_and_the_pool_as_a_pool() -> None:
    pool = FakeDriver().pool()
    await give(await take(pool))
    assert (pool.limiter.stats().kind, pool.stats().kind) == ("limiter", "pool")
    assert pool.limiter.stats().name == pool.stats().name
    assert pool.stats().admitted == 1
