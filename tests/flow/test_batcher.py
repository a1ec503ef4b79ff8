"""Natural batches: no delay when idle, one write for many when busy, nobody lost."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from fluido import BufferFull, Closed, Fixed
from fluido.flow._batcher import Batcher
from fluido.laws._batch_cap import BatchCap
from fluido.testing.virtual_loop import VirtualLoop


class Table:
    """A table whose write takes time, refuses bad rows, and remembers the statements."""

    def __init__(self, cost_s: Callable[[int], float] = lambda _n: 0.010) -> None:
        self.cost_s = cost_s
        self.statements: list[list[int]] = []
        self.concurrent = 0
        self.most_concurrent = 0
        self.bad: set[int] = set()

    async def write(self, rows: Sequence[int]) -> list[int]:
        self.statements.append(list(rows))
        self.concurrent += 1
        self.most_concurrent = max(self.most_concurrent, self.concurrent)
        try:
            await asyncio.sleep(self.cost_s(len(rows)))
        finally:
            self.concurrent -= 1
        if self.bad & set(rows):
            raise ValueError("a bad row")
        return [row * 10 for row in rows]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    VirtualLoop().run(main())


def batcher(table: Table, **more: Any) -> Batcher[int, int]:
    more.setdefault("max_pending", 100)
    return Batcher(table.write, name="rows", clock=asyncio.get_running_loop().time, **more)


def test_one_alone_is_written_at_once() -> None:
    async def main() -> None:
        table = Table()
        rows = batcher(table)
        assert await rows.add(7) == 70
        assert asyncio.get_running_loop().time() == pytest.approx(0.010)
        await rows.close()

    run(main)


def test_arrivals_of_one_tick_and_of_one_write_travel_together() -> None:
    async def main() -> None:
        table = Table()
        rows = batcher(table)
        first = [asyncio.create_task(rows.add(n)) for n in range(3)]
        await asyncio.sleep(0.005)
        second = [asyncio.create_task(rows.add(n)) for n in range(3, 8)]
        assert await asyncio.gather(*first, *second) == [n * 10 for n in range(8)]
        assert table.statements == [[0, 1, 2], [3, 4, 5, 6, 7]]
        assert rows.stats().admitted == 8

    run(main)


def test_lanes_write_side_by_side_and_the_cap_binds() -> None:
    async def main() -> None:
        table = Table()
        rows = batcher(table, lanes=2, law=Fixed(3))
        await asyncio.gather(*(rows.add(n) for n in range(12)))
        assert table.most_concurrent == 2
        assert sorted(map(len, table.statements)) == [3, 3, 3, 3]
        assert asyncio.get_running_loop().time() == pytest.approx(0.020)

    run(main)


def test_bytes_bound_a_batch_and_a_giant_goes_alone() -> None:
    async def main() -> None:
        table = Table()
        rows = batcher(table, max_bytes=10, size=lambda row: row)
        await asyncio.gather(*(rows.add(n) for n in (4, 4, 4, 99, 1, 2)))
        assert table.statements == [[4, 4], [4], [99], [1, 2]]

    run(main)


def test_a_poison_item_fails_alone() -> None:
    async def main() -> None:
        table = Table()
        table.bad = {5}
        rows = batcher(table, poisoned=lambda error: isinstance(error, ValueError))
        results = await asyncio.gather(*(rows.add(n) for n in range(16)), return_exceptions=True)
        assert [r for r in results if not isinstance(r, ValueError)] == [n * 10 for n in range(16) if n != 5]
        assert isinstance(results[5], ValueError)
        assert rows.writes == 1 + 2 * 4

    run(main)


def test_without_a_verdict_a_failed_batch_fails_for_everybody_once() -> None:
    async def main() -> None:
        table = Table()
        table.bad = {1}
        rows = batcher(table)
        results = await asyncio.gather(*(rows.add(n) for n in range(4)), return_exceptions=True)
        assert all(isinstance(r, ValueError) for r in results)
        assert len(table.statements) == 1
        table.bad = set()
        assert await rows.add(9) == 90

    run(main)


def test_full_and_closed() -> None:
    async def main() -> None:
        table = Table()
        rows = batcher(table, max_pending=2)
        tasks = [asyncio.create_task(rows.add(n)) for n in range(2)]
        await asyncio.sleep(0.001)
        tasks += [asyncio.create_task(rows.add(n)) for n in range(2)]
        await asyncio.sleep(0.001)
        with pytest.raises(BufferFull):
            await rows.add(3)
        await rows.close()
        await rows.close()
        assert all(task.done() for task in tasks)
        with pytest.raises(Closed):
            await rows.add(4)
        assert rows.stats().refused == 1

    run(main)


def test_who_is_cancelled_before_the_write_takes_the_item_back() -> None:
    async def main() -> None:
        table = Table()
        rows = batcher(table)
        first = asyncio.create_task(rows.add(0))
        await asyncio.sleep(0.001)
        gone = asyncio.create_task(rows.add(1))
        kept = asyncio.create_task(rows.add(2))
        await asyncio.sleep(0.001)
        gone.cancel()
        first.cancel()
        assert await kept == 20
        assert table.statements == [[0], [2]], "what was being written went on"
        assert (rows.stats().waiting, rows.stats().cancelled) == (0, 1)

    run(main)


def test_a_killed_lane_leaves_nobody_waiting() -> None:
    async def main() -> None:
        table = Table()
        rows = batcher(table)
        lost = asyncio.create_task(rows.add(0))
        await asyncio.sleep(0.001)
        waiting = asyncio.create_task(rows.add(1))
        await asyncio.sleep(0.001)
        for lane in rows._running:
            lane.cancel()
        assert await waiting == 10
        with pytest.raises(Closed):
            await lost

    run(main)


def test_results_that_do_not_match_are_an_error() -> None:
    async def short(rows: Sequence[int]) -> list[int]:
        return [1]

    async def main() -> None:
        rows: Batcher[int, int] = Batcher(short, name="short", max_pending=9)
        results = await asyncio.gather(*(rows.add(n) for n in range(2)), return_exceptions=True)
        assert all(isinstance(r, ValueError) for r in results)

    run(main)


def test_the_cap_law_is_fed_and_recovers_from_an_overload() -> None:
    async def main() -> None:
        # One row is cheapest in batches of sqrt(0.002 / 1e-7) = 141 rows.
        table = Table(lambda n: 0.002 + 20e-6 * n + 1e-7 * n * n)
        rows = batcher(table, max_pending=100_000, law=BatchCap())
        tasks = []
        for index in range(60_000):
            tasks.append(asyncio.create_task(rows.add(index)))
            await asyncio.sleep(1 / 60_000 if index < 30_000 else 1 / 15_000)
        await asyncio.gather(*tasks)
        assert 141 / 1.6 <= rows.stats().value <= 141 * 1.6 * 1.5
        assert rows.stats().reasons

    run(main)


def test_nonsense_is_refused() -> None:
    async def main() -> None:
        for bad in ({"max_pending": 0}, {"lanes": 0}, {"max_bytes": 0}, {"max_bytes": float("nan")}):
            with pytest.raises(ValueError, match="above zero"):
                batcher(Table(), **bad)

    run(main)
