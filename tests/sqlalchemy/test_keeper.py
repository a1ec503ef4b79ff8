"""What happens to a pool between its calls, told by a clock of our own."""

import asyncio
import logging

import pytest
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from fluido.flow._label import label
from fluido.sqlalchemy import AdaptivePool

from .fake_driver import FakeDriver

pytestmark = pytest.mark.anyio


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Answer the time in seconds."""
        return self.now_s


async def take(pool: AdaptivePool) -> PoolProxiedConnection:
    return await greenlet_spawn(pool.connect)


async def sweep(pool: AdaptivePool) -> None:
    """Let the keeper look, now and not in a second."""
    pool.keeper.sweep()
    for _ in range(5):
        await asyncio.sleep(0)


async def give(connection: PoolProxiedConnection) -> None:
    await greenlet_spawn(connection.close)


async def test_idle_connections_are_closed_down_to_min() -> None:
    driver, clock = FakeDriver(), Clock()
    pool = driver.pool(min=1, max=5, clock=clock, idle_s=60.0)
    held = [await take(pool) for _ in range(5)]
    for connection in held:
        await give(connection)
    await sweep(pool)
    assert driver.open_connections == 5  # needed a moment ago
    clock.now_s += 200.0
    for _ in range(8):
        await sweep(pool)
    assert driver.open_connections == 1
    assert pool.gate.follower.allowed == 5
    held = [await take(pool) for _ in range(5)]  # and it may grow again
    for connection in held:
        await give(connection)


async def test_a_connection_does_not_get_older_than_its_lifetime() -> None:
    driver, clock = FakeDriver(), Clock()
    pool = driver.pool(min=1, max=5, clock=clock, lifetime_s=100.0)
    await give(await take(pool))
    clock.now_s += 90.0
    await sweep(pool)
    assert not driver.connections[0].closed
    clock.now_s += 11.0
    await sweep(pool)
    assert driver.connections[0].closed
    await sweep(pool)  # and the one that is to be kept is opened before somebody asks
    assert driver.open_connections == 1


async def test_min_connections_are_opened_before_they_are_needed() -> None:
    driver = FakeDriver()
    pool = driver.pool(min=3, max=5)
    await give(await take(pool))
    for _ in range(4):
        await sweep(pool)
    assert driver.open_connections == 3
    assert pool.checkedin() == 3


async def test_a_server_that_is_down_does_not_stop_the_keeper() -> None:
    driver = FakeDriver()
    pool = driver.pool(min=3, max=5)
    await give(await take(pool))
    driver.broken = OSError("connection refused")
    await sweep(pool)
    driver.broken = None
    await sweep(pool)
    assert driver.open_connections == 2
    assert pool.gate.inflight == 0


async def test_who_forgets_a_session_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    pool = FakeDriver().pool(max=2, clock=clock)
    answer = asyncio.Event()

    async def awaits_the_model_with_a_session_open() -> None:
        with label("chat"):
            connection = await take(pool)
            await answer.wait()
            await give(connection)

    task = asyncio.create_task(awaits_the_model_with_a_session_open())
    await sweep(pool)
    clock.now_s += 3.0
    with caplog.at_level(logging.WARNING, "fluido.sqlalchemy"):
        await sweep(pool)
        assert not caplog.records, "he may be on his way"
        await sweep(pool)
        await sweep(pool)
    (record,) = caplog.records
    assert "held for 3.0 s, idle for 3.0 s" in record.getMessage()
    assert "label 'chat'" in record.getMessage()
    assert "awaits_the_model_with_a_session_open" in record.getMessage()
    answer.set()
    await task


async def test_who_moves_on_between_two_looks_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    pool = FakeDriver().pool(max=2, clock=clock)
    first, second = asyncio.Event(), asyncio.Event()

    async def slow_but_moving() -> None:
        connection = await take(pool)
        await first.wait()
        await second.wait()
        await give(connection)

    task = asyncio.create_task(slow_but_moving())
    await sweep(pool)
    clock.now_s += 3.0
    with caplog.at_level(logging.WARNING, "fluido.sqlalchemy"):
        await sweep(pool)
        first.set()
        await asyncio.sleep(0)
        await sweep(pool)
        assert not caplog.records
        await sweep(pool)
    assert len(caplog.records) == 1, "now he stands"
    second.set()
    await task


async def test_who_waits_for_the_database_is_not_accused(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    pool = FakeDriver().pool(max=2, clock=clock)
    connection = await take(pool)
    (hold,) = pool.holds.values()
    hold.working_since_s = clock()
    clock.now_s += 300.0
    with caplog.at_level(logging.WARNING, "fluido.sqlalchemy"):
        await sweep(pool)
        await sweep(pool)
    assert not caplog.records
    await give(connection)


async def test_the_timer_lives_only_while_there_is_something_to_look_after() -> None:
    pool = FakeDriver().pool(max=2)
    assert not pool.keeper.armed
    await give(await take(pool))
    assert pool.keeper.armed
    await greenlet_spawn(pool.dispose)
    assert not pool.keeper.armed
