"""The wait queue by itself: the orders, and that whoever waits is settled exactly once at every moment."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluido import Closed, WaitTimeout
from fluido._metrics import Meter
from fluido.flow._waiting import ByArrival, ByTurns, Order, Waiter, WaitQueue
from fluido.llm.admission._queue import CallQueue, Ticket
from fluido.llm.admission._seats import Demand
from fluido.testing.virtual_loop import VirtualLoop

TENTH_S = 1e-4


class AnEngines(CallQueue):
    """The queue of an engine (cost, keys, tenants, lanes), with numbers for what its callers want."""

    def __init__(self) -> None:
        super().__init__(max_waiting=1000)

    def join(self, waiter: Waiter[Any, Any], /) -> None:
        waiter.wanted = Ticket(Demand(0.1 * waiter.wanted, key=waiter.label))
        super().join(waiter)


ORDERS: dict[str, Callable[[], Order[int, int]]] = {
    "arrival": ByArrival,
    "turns": ByTurns,
    "engine": AnEngines,
}
MOMENTS = st.lists(
    st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 60))), min_size=1, max_size=25
)


class Permits:
    """The least that a flow is: numbered permits, handed to whoever is next in its order."""

    def __init__(self, order: Order[int, int], permits: int) -> None:
        self.free = list(range(permits))
        self.order = order
        self.meter = Meter("x", "permits")
        self.queue: WaitQueue[int, int] = WaitQueue(
            "a permit",
            self.meter,
            asyncio.get_running_loop().time,
            give_back=lambda waiter: self.put(waiter.turn.result()),
            hand_over=self.serve,
        )

    async def take(self, label: str, deadline_s: float | None = None) -> int:
        if self.free and not self.queue.waiting:
            return self.free.pop()
        return await self.queue.wait(self.order, 1, label=label, deadline_s=deadline_s)

    def put(self, permit: int) -> None:
        self.free.append(permit)
        self.serve()

    def serve(self) -> None:
        while self.free and (waiter := self.order.head()) is not None:
            self.queue.grant(waiter, self.free.pop())


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=80, deadline=None)
@given(moments=MOMENTS, closing=st.one_of(st.none(), st.integers(0, 60)))
def test_everybody_is_settled_once_and_no_permit_is_lost(
    order: str, moments: list[tuple[int, int | None]], closing: int | None
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        flow = Permits(ORDERS[order](), 2)

        async def call(index: int, start: int) -> int:
            await asyncio.sleep(start * TENTH_S)
            permit = await flow.take(f"{index % 3}", loop.time() + 0.003 if index % 4 == 0 else None)
            try:
                await asyncio.sleep(0.001)
            finally:
                flow.put(permit)
            return index

        tasks = []
        for index, (start, stop) in enumerate(moments):
            task = loop.create_task(call(index, start))
            tasks.append(task)
            if stop is not None:
                loop.call_later(stop * TENTH_S, task.cancel)
        if closing is not None:
            said = [Closed("closed") for _ in range(100)]
            loop.call_later(
                closing * TENTH_S,
                lambda: [flow.queue.refuse(each, said.pop()) for each in flow.order.everybody()],
            )
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(flow.free) == [0, 1]
        assert (flow.queue.waiting, flow.order.live, flow.order.everybody()) == (0, 0, [])
        assert flow.meter.timed_out >= sum(isinstance(each, WaitTimeout) for each in results)
        for index, (_, stop) in enumerate(moments):
            if stop is None and index % 4 and closing is None:
                assert results[index] == index
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == 1

    VirtualLoop().run(main())


def in_line(order: Order[int, int], labels: str) -> list[Waiter[int, int]]:
    loop = asyncio.get_running_loop()
    waiters = [
        Waiter(loop.create_future(), 1, order, label=label, serial=serial, joined_s=0.0)
        for serial, label in enumerate(labels)
    ]
    for waiter in waiters:
        order.join(waiter)
    return waiters


def served(order: Order[int, int]) -> list[int]:
    serials = []
    while (waiter := order.head()) is not None:
        serials.append(waiter.serial)
        waiter.turn.set_result(1)
        order.leave(waiter)
    return serials


def run(check: Callable[[], Any]) -> None:
    async def main() -> None:
        check()

    VirtualLoop().run(main())


@pytest.mark.parametrize(
    ("make", "labels", "expected"),
    [
        (ByArrival, "rrrrab", [0, 1, 2, 3, 4, 5]),
        (ByTurns, "aaaaa", [0, 1, 2, 3, 4]),
        (ByTurns, "rrrraa", [0, 4, 1, 5, 2, 3]),
        (ByTurns, "rrrab", [0, 3, 4, 1, 2]),
    ],
)
def test_who_is_next(make: Callable[[], Order[int, int]], labels: str, expected: list[int]) -> None:
    def check() -> None:
        order = make()
        in_line(order, labels)
        assert served(order) == expected
        assert order.live == 0

    run(check)


@pytest.mark.parametrize("make", ORDERS.values(), ids=ORDERS)
def test_who_leaves_is_not_served(make: Callable[[], Order[int, int]]) -> None:
    def check() -> None:
        order = make()
        waiters = in_line(order, "abab")
        for waiter in (waiters[1], waiters[0]):
            waiter.turn.cancel()
        assert order.head() is not waiters[0], "it is cancelled, though its task has not run yet"
        for waiter in (waiters[1], waiters[0]):
            order.leave(waiter)
        assert (order.live, {each.serial for each in order.everybody()}) == (2, {2, 3})
        assert served(order) == [2, 3]

    run(check)


@pytest.mark.parametrize("make", [ByArrival, ByTurns])
def test_a_burst_that_leaves_costs_no_search(make: Callable[[], Order[int, int]]) -> None:
    def check() -> None:
        order = make()
        waiters = in_line(order, "a" * 20_000 + "b")
        for waiter in waiters[:-1]:
            waiter.turn.cancel()
        for waiter in waiters[:-1]:
            assert order.head() is waiters[-1]
            order.leave(waiter)
        assert order.live == 1

    run(check)
