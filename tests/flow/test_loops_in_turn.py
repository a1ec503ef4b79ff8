"""A batcher or a buffer that outlives a loop serves the next one: `asyncio.run` for every job."""

import asyncio
import gc
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from fluido import Fixed
from fluido.flow._batcher import Batcher
from fluido.flow._bisect import HELD, Held
from fluido.flow._write_behind import WriteBehind
from fluido.testing.virtual_loop import VirtualLoop


class Store:
    """Stores rows. Those of `slow` take an hour; those of `held` are held up when others are with them."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.slow: set[int] = set()
        self.held: set[int] = set()

    async def write(self, rows: Sequence[int]) -> list[int | Held] | None:
        await asyncio.sleep(3600 if self.slow & set(rows) else 0.01)
        if len(rows) > 1 and self.held & set(rows):
            self.rows += [row for row in rows if row not in self.held]
            return [HELD if row in self.held else row for row in rows]
        self.rows += rows
        return list(rows)


def clock() -> float:
    return asyncio.get_running_loop().time()


def batcher(store: Store) -> Batcher[int, int]:
    return Batcher(
        store.write,  # type: ignore[arg-type]  # a verdict may stand in the place of a result
        name="rows",
        max_pending=50,
        patience_s=0.25,
        law=Fixed(10),
        clock=clock,
    )


def behind(store: Store, **more: Any) -> WriteBehind[int]:
    return WriteBehind(store.write, name="log", max_pending=3, clock=clock, jitter=lambda: 0.5, **more)


def run(main: Coroutine[Any, Any, None]) -> None:
    VirtualLoop().run(main)


def die_over(main: Coroutine[Any, Any, None]) -> None:
    """End a loop as nobody should: closed over tasks that are neither done nor cancelled."""
    loop = VirtualLoop()
    loop.run_until_complete(main)
    left = asyncio.all_tasks(loop)
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    del left
    gc.collect()


async def add_and_leave(rows: Batcher[int, int], *numbers: int) -> None:
    for number in numbers:
        asyncio.get_running_loop().create_task(rows.add(number))
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("end", [run, die_over])
def test_a_batcher_looks_after_its_lanes_in_every_loop(end: Any) -> None:
    """The timer of the first loop, which ends before it is due, must not be waited for in the next."""
    store = Store()
    rows = batcher(store)
    store.slow = {1, 5}
    end(add_and_leave(rows, 1, 2, 3))

    async def second() -> None:
        stuck = asyncio.create_task(rows.add(5))
        await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            assert await asyncio.gather(rows.add(6), rows.add(7)) == [6, 7]
        stuck.cancel()

    run(second())
    assert store.rows == [6, 7], "nobody waits for what was added in the loop that ended"


@pytest.mark.parametrize("end", [run, die_over])
def test_a_batcher_can_be_closed_in_another_loop(end: Any) -> None:
    store = Store()
    rows = batcher(store)
    store.slow = {1}
    end(add_and_leave(rows, 1, 2))

    async def close() -> None:
        async with asyncio.timeout(60):
            await rows.close()

    run(close())
    stats = rows.stats()
    assert (stats.inflight, stats.waiting) == (0, 0)


@pytest.mark.parametrize("end", [run, die_over])
def test_a_buffer_goes_on_in_the_next_loop(end: Any) -> None:
    """With what the first one left, even where it left no room for anything new."""
    store = Store()
    log = behind(store)

    async def fill() -> None:
        log.offer(1)
        await asyncio.sleep(1)  # its events belong to this loop now
        for number in (2, 3, 4):
            log.offer(number)
        await asyncio.sleep(0.001)

    async def second() -> None:
        async with asyncio.timeout(60):
            await log.put(5)
            await log.flush()

    end(fill())
    run(second())
    assert store.rows == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("end", [run, die_over])
def test_a_buffer_is_flushed_in_the_next_loop(end: Any) -> None:
    store = Store()
    log = behind(store)
    store.held, store.slow = {2}, set()

    async def fill() -> None:
        log.offer(1)
        log.offer(2)
        store.slow = {2}
        await asyncio.sleep(1)  # 1 is stored, and 2, which was held up, takes an hour

    async def flush() -> None:
        async with asyncio.timeout(60):
            await log.flush()

    end(fill())
    store.slow = set()
    run(flush())
    assert store.rows == [1, 2]
