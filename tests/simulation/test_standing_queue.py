"""What CoDel's short waits do, and to whom: why `standing_share` is an option and not the default."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from fluido import Fixed, Limiter, LimitReached, WaitTimeout
from fluido.testing.curve import Curve
from fluido.testing.server import SimulatedServer
from fluido.testing.virtual_loop import VirtualLoop

SHORT = 0.05


@dataclass
class Outcome:
    served: int = 0
    failed: int = 0
    waits_s: list[float] = field(default_factory=list)

    def wait_s(self, q: float) -> float:
        return sorted(self.waits_s)[int(q * (len(self.waits_s) - 1))]


async def one_call(flow: Limiter, server: SimulatedServer, deadline_s: float, found: Outcome) -> None:
    joined_s = flow.clock()
    try:
        async with flow.permit(deadline_s=deadline_s):
            found.waits_s.append(flow.clock() - joined_s)
            await server.call()
    except (LimitReached, WaitTimeout):
        found.failed += 1
    else:
        found.served += 1


def open_load(share: float, rate: float, budget_s: float) -> Outcome:
    """Four at a time, 10 ms each: 400 a second, for 20 s of Poisson arrivals at `rate`."""

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()
        chance = random.Random(1)
        flow = Limiter(Fixed(4), name="x", max_waiting=10_000, clock=loop.time, standing_share=share)
        server = SimulatedServer(Curve.knee(4, 0.010))
        found = Outcome()
        calls = []
        while loop.time() < 20:
            await asyncio.sleep(chance.expovariate(rate))
            calls.append(loop.create_task(one_call(flow, server, loop.time() + budget_s, found)))
        await asyncio.gather(*calls)
        return found

    return VirtualLoop().run(main())


def closed_load(share: float, callers: int, budget_s: float) -> Outcome:
    """As above, but every caller comes back when it was served: a queue that stands by design."""

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()
        flow = Limiter(Fixed(4), name="x", max_waiting=10_000, clock=loop.time, standing_share=share)
        server = SimulatedServer(Curve.knee(4, 0.010))
        found = Outcome()

        async def caller() -> None:
            while loop.time() < 5:
                await one_call(flow, server, loop.time() + budget_s, found)

        await asyncio.gather(*(caller() for _ in range(callers)))
        return found

    return VirtualLoop().run(main())


def test_under_overload_short_waits_serve_as_many_and_sooner() -> None:
    full, short = open_load(1.0, 520, 1.0), open_load(SHORT, 520, 1.0)
    # The server is never idle: 400 a second. (With full waits it works off a second's queue at the end.)
    assert short.served >= 0.97 * 400 * 20
    assert full.wait_s(0.5) > 0.5, "who is served has waited for nearly all of its time"
    assert short.wait_s(0.5) < 0.06


def test_below_capacity_nobody_is_refused_with_either() -> None:
    full, short = open_load(1.0, 280, 1.0), open_load(SHORT, 280, 1.0)
    assert full.failed == short.failed == 0
    assert short.waits_s == full.waits_s


@pytest.mark.parametrize(("share", "fails"), [(1.0, False), (SHORT, True)])
def test_a_standing_queue_of_callers_that_come_back_is_no_overload(share: float, fails: bool) -> None:
    # 60 tasks on a pool of four, 2 s of patience: each waits 140 ms, which 5 % of its time does not cover.
    found = closed_load(share, 60, 2.0)
    assert (found.failed > 0) is fails


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="standing_share"):
        Limiter(Fixed(4), name="x", max_waiting=1, standing_share=share)


def test_callers_without_a_deadline_wait_as_long_as_it_takes() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        flow = Limiter(Fixed(1), name="x", max_waiting=100, clock=loop.time, standing_share=SHORT)
        served = 0

        async def call() -> None:
            nonlocal served
            async with flow.permit():
                await asyncio.sleep(0.1)
                served += 1

        async with asyncio.TaskGroup() as calls:
            for _ in range(30):
                calls.create_task(call())
                await asyncio.sleep(0.01)
        return served

    assert VirtualLoop().run(main()) == 30
