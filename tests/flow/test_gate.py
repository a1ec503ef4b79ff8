"""Order, hand-over, resizing, bounds, and permits that survive cancellation."""

import asyncio

import pytest

from fluido import Closed, Gate, LimitReached, WaitTimeout

pytestmark = pytest.mark.anyio


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def queue_up(gate: Gate, names: str, order: list[str]) -> list["asyncio.Task[None]"]:
    async def enter(name: str) -> None:
        await gate.acquire()
        order.append(name)

    tasks = [asyncio.create_task(enter(name)) for name in names]
    await settle()
    return tasks


async def test_admits_up_to_the_limit_and_no_further() -> None:
    gate = Gate(2, max_waiting=0)
    assert gate.try_acquire()
    assert gate.try_acquire()
    assert not gate.try_acquire()
    gate.release()
    assert gate.try_acquire()
    assert gate.inflight == 2


async def test_hands_over_in_order() -> None:
    gate = Gate(1, max_waiting=9)
    await gate.acquire()
    order: list[str] = []
    await queue_up(gate, "abc", order)
    assert gate.waiting == 3
    for _ in range(3):
        gate.release()
        await settle()
    assert order == ["a", "b", "c"]
    assert (gate.inflight, gate.waiting) == (1, 0)


async def test_a_caller_that_comes_back_at_once_does_not_overtake() -> None:
    gate = Gate(1, max_waiting=9)
    await gate.acquire()
    order: list[str] = []
    await queue_up(gate, "a", order)
    gate.release()
    assert not gate.try_acquire(), "the permit belongs to the waiter already"
    await settle()
    assert order == ["a"]


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    gate = Gate(1, max_waiting=9)
    await gate.acquire()
    order: list[str] = []
    first, *_ = await queue_up(gate, "ab", order)
    first.cancel()
    await settle()
    assert (gate.waiting, gate.cancelled) == (1, 1)
    gate.release()
    await settle()
    assert order == ["b"]


async def test_granted_and_cancelled_in_the_same_tick_passes_the_permit_on() -> None:
    gate = Gate(1, max_waiting=9)
    await gate.acquire()
    order: list[str] = []
    first, *_ = await queue_up(gate, "ab", order)
    gate.release()
    first.cancel()
    await settle()
    assert order == ["b"]
    assert (gate.inflight, gate.waiting) == (1, 0)


async def test_cancelled_then_released_in_the_same_tick_loses_no_wakeup() -> None:
    gate = Gate(1, max_waiting=9)
    await gate.acquire()
    order: list[str] = []
    (first,) = await queue_up(gate, "a", order)
    first.cancel()
    gate.release()
    # Who comes now sees a queue whose only member is gone, and joins it.
    late = asyncio.create_task(gate.acquire())
    await settle()
    assert late.done()
    assert (gate.inflight, gate.waiting) == (1, 0)


async def test_growing_admits_at_once_and_shrinking_waits_for_leavers() -> None:
    gate = Gate(1, max_waiting=9)
    await gate.acquire()
    order: list[str] = []
    await queue_up(gate, "abc", order)
    gate.resize(3)
    await settle()
    assert order == ["a", "b"]
    gate.resize(1)
    gate.release()
    gate.release()
    await settle()
    assert gate.inflight == 1
    assert order == ["a", "b"]
    gate.release()
    await settle()
    assert order == ["a", "b", "c"]


async def test_a_full_queue_refuses_at_once() -> None:
    gate = Gate(1, max_waiting=1)
    await gate.acquire()
    await queue_up(gate, "a", [])
    with pytest.raises(LimitReached) as refusal:
        await gate.acquire()
    assert refusal.value.waiting == 1
    assert gate.refused == 1


async def test_a_deadline_in_the_queue_ends_the_wait() -> None:
    now = asyncio.get_running_loop().time
    gate = Gate(1, max_waiting=9, clock=now)
    await gate.acquire()
    with pytest.raises(WaitTimeout) as timeout:
        await gate.acquire(deadline_s=now() + 0.001)
    assert timeout.value.waited_s > 0
    assert isinstance(timeout.value, TimeoutError)
    with pytest.raises(LimitReached):
        await gate.acquire(deadline_s=now() - 1)
    assert (gate.waiting, gate.timed_out, gate.refused) == (0, 1, 1)


async def test_closing_fails_who_waits_and_who_comes() -> None:
    gate = Gate(1, max_waiting=9)
    await gate.acquire()
    (waiter,) = await queue_up(gate, "a", [])
    gate.close()
    gate.close()
    await settle()
    assert isinstance(waiter.exception(), Closed)
    with pytest.raises(Closed):
        await gate.acquire()
    gate.release()
    assert (gate.inflight, gate.waiting) == (0, 0)


async def test_a_fraction_is_kept_on_average() -> None:
    gate = Gate(2.25, max_waiting=9)
    total = 0
    for _ in range(400):
        while gate.try_acquire():
            pass
        total += gate.inflight
        gate.release()
    assert total / 400 == pytest.approx(2.25, abs=0.35)
    assert gate.inflight <= 3


@pytest.mark.parametrize("limit", [0, 0.99, -1, float("nan"), float("inf")])
async def test_a_limit_that_makes_no_sense_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="limit"):
        Gate(limit, max_waiting=1)
    gate = Gate(1, max_waiting=1)
    with pytest.raises(ValueError, match="limit"):
        gate.resize(limit)
    assert gate.limit == 1


async def test_releasing_what_was_not_taken_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        Gate(1, max_waiting=1).release()
    with pytest.raises(ValueError, match="max_waiting"):
        Gate(1, max_waiting=-1)


async def test_cancelling_many_waiters_keeps_the_queue_small() -> None:
    gate = Gate(1, max_waiting=2000)
    await gate.acquire()
    tasks = await queue_up(gate, "x" * 2000, [])
    for task in tasks[:1990]:
        task.cancel()
    await settle()
    assert gate.waiting == 10
    assert len(gate._line) <= 2 * gate.waiting + 8
