"""Nobody waits, nothing is lost in silence, order is kept."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from fluido import BufferFull, Closed, Fixed
from fluido.flow._write_behind import WriteBehind
from fluido.testing.virtual_loop import VirtualLoop


class Store:
    """Stores rows, unless told to fail."""

    def __init__(self, cost_s: float = 0.010) -> None:
        self.cost_s = cost_s
        self.rows: list[int] = []
        self.writes: list[tuple[float, int]] = []
        self.down = 0
        self.bad: set[int] = set()

    async def write(self, rows: Sequence[int]) -> None:
        self.writes.append((asyncio.get_running_loop().time(), len(rows)))
        await asyncio.sleep(self.cost_s)
        if self.down:
            self.down -= 1
            raise ConnectionError("down")
        if self.bad & set(rows):
            raise ValueError("bad row")
        self.rows += rows


def behind(store: Store, **more: Any) -> WriteBehind[int]:
    more.setdefault("max_pending", 1000)
    return WriteBehind(
        store.write, name="log", clock=asyncio.get_running_loop().time, jitter=lambda: 0.5, **more
    )


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    VirtualLoop().run(main())


def test_written_when_the_oldest_is_stale_and_then_no_timer_is_left() -> None:
    async def main() -> None:
        store = Store()
        log = behind(store)
        for n in range(5):
            await log.put(n)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert store.rows == [0, 1, 2, 3, 4]
        assert store.writes == [(pytest.approx(0.1), 5)]
        assert log._worker is None

    run(main)


def test_a_full_batch_does_not_wait() -> None:
    async def main() -> None:
        store = Store()
        log = behind(store, law=Fixed(4))
        for n in range(8):
            log.offer(n)
        await asyncio.sleep(0.05)
        assert store.writes == [(0, 4), (pytest.approx(0.01), 4)]

    run(main)


def test_a_failed_batch_is_tried_again_in_order_with_back_off() -> None:
    async def main() -> None:
        store = Store(cost_s=0)
        store.down = 3
        log = behind(store)
        for n in range(10):
            log.offer(n)
        await asyncio.sleep(0.15)
        log.offer(10)
        await asyncio.sleep(30)
        assert store.rows == list(range(11))
        assert [at for at, _ in store.writes[:4]] == [pytest.approx(t) for t in (0.1, 0.2, 0.4, 0.8)]
        assert log.stats().value == 32 / 2**3
        assert log.failures == 3

    run(main)


def test_poison_is_handed_back_and_the_others_are_stored() -> None:
    async def main() -> None:
        store = Store()
        store.bad = {3}
        lost: list[int] = []
        log = behind(
            store,
            poisoned=lambda error: isinstance(error, ValueError),
            rejected=lambda items, _error: lost.extend(items),
        )
        for n in range(8):
            log.offer(n)
        await log.flush()
        assert (store.rows, lost) == ([0, 1, 2, 4, 5, 6, 7], [3])

    run(main)


def test_a_full_buffer_blocks_in_order_and_refuses_offers() -> None:
    async def main() -> None:
        store = Store()
        log = behind(store, max_pending=2, max_waiting=2)
        puts = [asyncio.create_task(log.put(n)) for n in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [task.done() for task in puts] == [True, True, False, False]
        with pytest.raises(BufferFull):
            log.offer(9)
        with pytest.raises(BufferFull):
            await log.put(9)
        puts[2].cancel()
        await asyncio.sleep(1)
        assert store.rows == [0, 1, 3]
        assert log.stats().cancelled == 1

    run(main)


def test_bytes_bound_the_buffer() -> None:
    async def main() -> None:
        log = behind(Store(), max_bytes=10, size=lambda row: row)
        log.offer(6)
        log.offer(6)
        with pytest.raises(BufferFull):
            log.offer(1)
        await log.flush()
        log.offer(1)
        await log.close()

    run(main)


def test_closing_writes_what_is_there() -> None:
    async def main() -> None:
        store = Store()
        log = behind(store)
        for n in range(100):
            log.offer(n)
        await log.close()
        await log.close()
        assert store.rows == list(range(100))
        with pytest.raises(Closed):
            log.offer(1)
        with pytest.raises(Closed):
            await log.put(1)

    run(main)


def test_closing_on_a_dead_store_hands_back_the_rest() -> None:
    async def main() -> None:
        store = Store()
        store.down = 10**9
        lost: list[int] = []
        log = behind(store, max_pending=3, rejected=lambda items, _error: lost.extend(items))
        blocked = [asyncio.create_task(log.put(n)) for n in range(4)]
        await asyncio.sleep(1)
        await log.close(timeout_s=2)
        assert lost == [0, 1, 2]
        with pytest.raises(Closed):
            await blocked[3]
        assert log.rejected_items == 3
        assert log.stats().waiting == 0

    run(main)


def test_a_callback_that_fails_stops_nothing() -> None:
    def rejected(_items: Sequence[int], _error: BaseException) -> None:
        raise RuntimeError("no disk")

    async def main() -> None:
        store = Store()
        store.bad = {0}
        log = behind(store, poisoned=lambda _: True, rejected=rejected)
        log.offer(0)
        log.offer(1)
        await log.flush()
        assert store.rows == [1]

    run(main)


def test_nonsense_is_refused() -> None:
    async def main() -> None:
        for bad in ({"max_pending": 0}, {"max_bytes": 0}, {"staleness_s": float("nan")}, {"max_waiting": -1}):
            with pytest.raises(ValueError, match="must be"):
                behind(Store(), **bad)

    run(main)
