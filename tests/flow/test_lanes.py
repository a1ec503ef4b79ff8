"""Heavy calls keep to their share, borrow what nobody needs, and never starve."""

import asyncio

import pytest

from fluido import Limiter
from fluido.flow._lanes import LanedGate
from fluido.laws._fixed import Fixed
from fluido.laws._lanes import Lanes
from fluido.testing.virtual_loop import VirtualLoop


def gate(limit: float = 8) -> LanedGate:
    return LanedGate(limit, max_waiting=1000, is_heavy=lambda label: label.startswith("heavy"))


def take(lanes: LanedGate, label: str, times: int) -> int:
    return sum(lanes.try_acquire(label) for _ in range(times))


def test_heavy_calls_borrow_but_leave_a_quarter_free() -> None:
    lanes = gate()
    assert take(lanes, "heavy", 9) == 6
    assert take(lanes, "light", 9) == 2


def test_beside_light_calls_that_wait_heavy_ones_keep_to_a_quarter() -> None:
    async def main() -> None:
        lanes = gate()
        assert take(lanes, "light", 9) == 8
        light = [asyncio.create_task(lanes.acquire(label="light")) for _ in range(20)]
        heavy = [asyncio.create_task(lanes.acquire(label="heavy")) for _ in range(20)]
        await asyncio.sleep(0)
        for _ in range(16):
            lanes.release("light")
            await asyncio.sleep(0)
            assert lanes.heavy_inflight <= 2
        assert sum(task.done() for task in heavy) == 1, "one of them has a permit"
        assert sum(task.done() for task in light) == 15
        for task in (*light, *heavy):
            task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert lanes.waiting == 0

    VirtualLoop().run(main())


def test_a_light_call_that_leaves_lets_heavy_ones_borrow() -> None:
    async def main() -> None:
        lanes = gate(4)
        assert take(lanes, "light", 1) + take(lanes, "heavy", 3) == 3
        lanes.resize(1)
        light = asyncio.create_task(lanes.acquire(label="light"))
        heavy = asyncio.create_task(lanes.acquire(label="heavy"))
        await asyncio.sleep(0)
        lanes.resize(8)
        await asyncio.sleep(0)
        assert light.done()
        assert heavy.done()

    VirtualLoop().run(main())


def test_a_class_that_changes_its_lane_meanwhile_leaks_nothing() -> None:
    heavy: set[str] = set()
    lanes = LanedGate(4, max_waiting=9, is_heavy=heavy.__contains__)
    assert lanes.try_acquire("a")
    heavy.add("a")
    assert lanes.try_acquire("a")
    heavy.clear()
    lanes.release("a")
    lanes.release("a")
    assert (lanes.inflight, lanes.heavy_inflight) == (0, 0)
    assert not lanes._heavy_of
    with pytest.raises(RuntimeError):
        lanes.release("a")


def test_granted_and_cancelled_heavy_gives_its_share_back() -> None:
    async def main() -> None:
        lanes = gate(1)
        assert lanes.try_acquire("heavy")
        waiter = asyncio.create_task(lanes.acquire(label="heavy"))
        await asyncio.sleep(0)
        lanes.release("heavy")
        waiter.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (lanes.inflight, lanes.heavy_inflight, lanes.waiting) == (0, 0, 0)

    VirtualLoop().run(main())


async def mixed_load(lanes: Lanes | None) -> float:
    """900 light calls a second of 5 ms, 60 heavy ones of 500 ms every 10 s, 26 permits: light p99 in ms."""
    now = asyncio.get_running_loop().time
    flow = Limiter(Fixed(26), name="db", max_waiting=100_000, clock=now, lanes=lanes)
    total_ms: list[float] = []

    async def call(label: str, cost_s: float) -> None:
        began_s = now()
        async with flow.permit(label=label):
            await asyncio.sleep(cost_s)
        if label == "light":
            total_ms.append((now() - began_s) * 1e3)

    tasks = []
    for step in range(27_000):
        tasks.append(asyncio.create_task(call("light", 0.005)))
        if step % 9000 == 4500:
            tasks += [asyncio.create_task(call("heavy", 0.5)) for _ in range(60)]
        await asyncio.sleep(1 / 900)
    await asyncio.gather(*tasks)
    tail = sorted(total_ms[13_500:])
    return tail[int(0.99 * len(tail))]


def test_short_calls_do_not_wait_behind_a_burst_of_long_ones() -> None:
    plain_ms = VirtualLoop().run(mixed_load(None))
    laned_ms = VirtualLoop().run(mixed_load(Lanes()))
    assert laned_ms < plain_ms / 10
