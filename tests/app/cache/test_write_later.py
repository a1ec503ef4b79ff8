"""Of each key the newest value, in batches, and nobody waits: in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest

from app.cache.write_later import WriteLater
from fluido.testing.virtual_loop import VirtualLoop

Later = WriteLater[int]


class SlowCache:
    """Takes `cost_s` for a batch; takes none, and reads none of it, while it is `away`."""

    def __init__(self, cost_s: float = 0.010) -> None:
        self.cost_s = cost_s
        self.is_away = False
        self.writes: list[tuple[float, dict[str, Any]]] = []

    async def batch_set(self, entries: Iterable[tuple[str, Any]]) -> int:
        if self.is_away:
            return 0
        taken = dict(entries)
        self.writes.append((asyncio.get_running_loop().time(), taken))
        await asyncio.sleep(self.cost_s)
        return len(taken)


class Formed:
    """Counts the values that were brought into the form in which they are stored."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def __call__(self, value: int) -> str:
        self.values.append(value)
        return str(value)


def later(cache: SlowCache, form: Callable[[int], Any] = str, **more: Any) -> Later:
    clock = asyncio.get_running_loop().time
    options = {"max_pending": 100, "batch": 10, "staleness_s": 0.1} | more
    return WriteLater(cache, form=form, name="later", clock=clock, **options)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    VirtualLoop().run(main())


def test_the_newest_value_of_a_key_is_written_once_and_alone_is_formed() -> None:
    async def main() -> None:
        cache, form = SlowCache(), Formed()
        writes = later(cache, form)
        for value in range(5):
            assert writes.put("a", value)
        assert writes.put("b", 7)
        await asyncio.sleep(0.2)
        assert cache.writes == [(pytest.approx(0.1), {"a": "4", "b": "7"})]
        assert form.values == [4, 7]
        assert writes.outcomes() == {"written": 2, "replaced": 4, "dropped": 0}
        assert writes.write_s == pytest.approx(0.010)
        assert len(writes) == 0

    run(main)


def test_a_value_that_comes_while_its_key_is_written_is_written_next() -> None:
    async def main() -> None:
        cache = SlowCache(cost_s=1.0)
        writes = later(cache)
        writes.put("a", 1)
        await asyncio.sleep(0.5)
        writes.put("a", 2)
        writes.put("a", 3)
        await writes.flush()
        assert [taken for _, taken in cache.writes] == [{"a": "1"}, {"a": "3"}]

    run(main)


def test_a_full_batch_does_not_wait_and_the_number_of_keys_is_bounded() -> None:
    async def main() -> None:
        cache = SlowCache(cost_s=1.0)
        writes = later(cache, max_pending=25)
        taken = [writes.put(f"k{number}", number) for number in range(30)]
        assert taken == [True] * 25 + [False] * 5
        assert writes.put("k3", 33)  # a newer value needs no room
        assert len(writes) == 25
        await writes.flush()
        assert [len(batch) for _, batch in cache.writes] == [10, 10, 5]
        assert cache.writes[0][0] == 0.0
        assert cache.writes[0][1]["k3"] == "33"
        assert writes.outcomes() == {"written": 25, "replaced": 1, "dropped": 5}
        assert writes.put("k29", 29)
        await writes.close()

    run(main)


def test_what_is_forgotten_is_not_written_and_may_come_again() -> None:
    async def main() -> None:
        cache = SlowCache()
        writes = later(cache)
        writes.put("a", 1)
        writes.put("b", 2)
        writes.forget("a")
        writes.forget("unknown")
        await writes.flush()
        assert [taken for _, taken in cache.writes] == [{"b": "2"}]
        writes.put("a", 3)
        writes.forget("a")
        writes.put("a", 4)
        await writes.flush()
        assert cache.writes[-1][1] == {"a": "4"}
        assert len(writes) == 0

    run(main)


def test_a_cache_that_is_away_costs_nothing_and_holds_nothing_back() -> None:
    async def main() -> None:
        cache, form = SlowCache(), Formed()
        writes = later(cache, form)
        cache.is_away = True
        for number in range(20):
            writes.put(f"k{number}", number)
        await writes.flush()
        assert form.values == []
        assert len(writes) == 0
        assert writes.outcomes() == {"written": 0, "replaced": 0, "dropped": 20}
        assert asyncio.get_running_loop().time() == 0.0
        cache.is_away = False
        writes.put("k0", 1)
        await writes.flush()
        assert writes.outcomes()["written"] == 1

    run(main)


def test_without_patience_a_value_leaves_at_once() -> None:
    async def main() -> None:
        cache = SlowCache()
        writes = later(cache)
        writes.staleness_s = 0.0
        writes.put("a", 1)
        await asyncio.sleep(0.001)
        assert cache.writes == [(0.0, {"a": "1"})]

    run(main)


def test_closing_writes_what_waits_within_its_time_and_drops_the_rest() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        quick = later(SlowCache())
        quick.put("a", 1)
        await quick.close()
        assert (quick.outcomes()["written"], loop.time()) == (1, pytest.approx(0.010))
        assert not quick.put("a", 2)

        cache = SlowCache(cost_s=60.0)
        slow = later(cache, batch=1)
        slow.put("a", 1)
        slow.put("b", 2)
        begun_s = loop.time()
        await slow.close(timeout_s=1.0)
        await slow.close(timeout_s=1.0)
        assert loop.time() - begun_s == pytest.approx(1.0)
        await asyncio.sleep(0)
        assert slow.outcomes() == {"written": 0, "replaced": 0, "dropped": 2}
        assert len(slow) == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


def test_closing_that_is_cancelled_leaves_nothing_behind() -> None:
    async def main() -> None:
        cache = SlowCache(cost_s=60.0)
        writes = later(cache)
        writes.put("a", 1)
        closing = asyncio.create_task(writes.close(timeout_s=30.0))
        await asyncio.sleep(1.0)
        writes.put("b", 2)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await asyncio.sleep(0)
        assert len(writes) == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)
