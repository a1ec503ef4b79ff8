"""What may be said inside of a permit, and what a refusing server is owed."""

import asyncio
import warnings
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fluido import Fixed, Gate, Limiter, LimitReached, Outcome, adaptive_limiter
from fluido.flow._permit import retry_after_s
from fluido.laws._brake import Brake
from fluido.laws._standstill import Standstill
from fluido.testing.virtual_loop import VirtualLoop

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def spin(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        (0.5, 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_a_retry_after_is_seconds_a_date_or_nonsense(said: float | str | None, seconds: float) -> None:
    assert retry_after_s(said) == seconds


def test_a_date_to_come_is_so_many_seconds() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    assert 500 < retry_after_s(date) <= 600


def test_nobody_is_let_in_before_the_time_that_the_server_named() -> None:
    loop = VirtualLoop()

    async def scenario() -> list[float]:
        flow = Limiter(Fixed(2), name="api", max_waiting=10, clock=loop.time)
        entered: list[float] = []

        async def call() -> None:
            async with flow.permit():
                entered.append(loop.time())

        async with flow.permit() as permit:
            waiting = [asyncio.ensure_future(call()) for _ in range(2)]
            await spin()
            assert len(entered) == 2, "one permit is free, and comes back"
            permit.refused("3")
            permit.refused("1")  # shorter: no news
            waiting += [asyncio.ensure_future(call()) for _ in range(3)]
            await spin()
        await asyncio.gather(*waiting)
        stats = flow.stats()
        assert (stats.overloads, stats.reasons) == (1, {"asked_to_wait": 1})
        async with flow.permit():
            entered.append(loop.time())
        return entered

    first, second, *after = loop.run(scenario())
    assert [round(at_s - first, 6) for at_s in (second, *after)] == [0.0, 3.0, 3.0, 3.0, 3.0]


def test_a_pause_that_is_made_longer_lasts_longer_and_a_minute_at_most() -> None:
    loop = VirtualLoop()

    async def scenario() -> float:
        flow = Limiter(Fixed(2), name="api", max_waiting=10, clock=loop.time)
        flow.pause(1.0)
        began_s = loop.time()
        task = asyncio.ensure_future(flow.permit().__aenter__())
        await asyncio.sleep(0.5)
        flow.pause(1e9)
        await task
        return loop.time() - began_s

    assert loop.run(scenario()) == pytest.approx(60.5)


async def test_a_deadline_before_the_end_of_a_pause_is_refused_at_once() -> None:
    clock = Clock()
    flow = Limiter(Fixed(2), name="api", max_waiting=10, clock=clock)
    flow.pause(5.0)
    with pytest.raises(LimitReached) as refused:
        async with flow.permit(deadline_s=clock.now_s + 4.0):
            pass
    assert refused.value.retry_after_s == pytest.approx(5.0)


async def test_an_arrival_after_the_pause_ends_it_without_a_timer() -> None:
    clock = Clock()
    gate = Gate(2, max_waiting=10, clock=clock)
    gate.pause(clock.now_s + 5.0)
    assert not gate.try_acquire()
    clock.now_s += 6.0
    await gate.acquire()
    assert (gate.inflight, gate.paused) == (1, False)


async def test_a_caller_cancelled_in_a_pause_leaves_nothing_behind() -> None:
    gate = Gate(1, max_waiting=10)
    gate.pause(gate._clock() + 0.05)
    task = asyncio.ensure_future(gate.acquire())
    await spin()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await gate.acquire()
    assert (gate.inflight, gate.waiting) == (1, 0)


async def test_a_shadow_only_looks_on() -> None:
    flow = Limiter(Fixed(2), name="api", max_waiting=10, shadow=True)
    flow.pause(5.0)
    async with flow.permit():
        assert not flow.gate.paused


async def test_refusals_brake_the_limit_and_answers_let_it_go() -> None:
    clock = Clock()
    flow = Limiter(Fixed(8), name="api", max_waiting=10, clock=clock, brake=Brake())
    for _ in range(20):
        async with flow.permit() as permit:
            clock.now_s += 0.05
            permit.refused()
    assert flow.gate.limit < 8
    for _ in range(40):
        async with flow.permit():
            clock.now_s += 0.05
    assert flow.gate.limit == 8


async def test_the_former_name_still_works_and_says_so() -> None:
    flow = Limiter(Fixed(2), name="api", max_waiting=10)
    with pytest.warns(DeprecationWarning, match="permit"):
        permit = flow.slot()
    async with permit:
        assert flow.gate.inflight == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with flow.permit():
            pass


def test_permits_inside_of_permits_do_not_stand_still_below_the_maximum() -> None:
    loop = VirtualLoop()

    async def scenario() -> float:
        flow = Limiter(
            Fixed2(10.0, 100.0), name="nested", max_waiting=100, clock=loop.time,
            standstill=Standstill(shortest_s=1.0, unknown_s=30.0),
        )  # fmt: skip
        async with flow.permit():
            await asyncio.sleep(0.1)

        async def call() -> None:
            async with flow.permit():
                await asyncio.sleep(0.1)
                async with flow.permit():
                    await asyncio.sleep(0.1)

        began_s = loop.time()
        await asyncio.gather(*(call() for _ in range(20)))
        took_s = loop.time() - began_s
        assert flow.stats().reasons["relief_standstill"] >= 1
        await asyncio.sleep(5.0)
        assert flow.gate.limit == 10, "what was lent is taken back"
        return took_s

    assert loop.run(scenario()) < 5.0


class Fixed2(Fixed):
    """A law that would not move, with room above."""

    def __init__(self, value: float, ceiling: float) -> None:
        super().__init__(value)
        self._ceiling = ceiling

    @property
    def ceiling(self) -> float:  # type: ignore[override]
        return self._ceiling


async def test_the_door_builds_a_limiter_that_begins_where_the_user_was() -> None:
    flow = adaptive_limiter(12, max=40, name="api")
    async with flow.permit():
        pass
    stats = flow.stats()
    assert (stats.value, stats.floor, stats.ceiling, stats.reference) == (12, 1, 40, 12)
    assert "12 at a time" in stats.words
    flow.close()


async def test_equal_bounds_are_a_plain_limit() -> None:
    flow = adaptive_limiter(4, min=4, max=4)
    assert flow.stats().law == "fixed"


@pytest.mark.parametrize("bounds", [(0, 0, 5), (3, 5, 9), (9, 1, 5), (5, 1, float("inf"))])
def test_bounds_that_contradict_each_other_are_refused(bounds: tuple[float, float, float]) -> None:
    start, least, most = bounds
    with pytest.raises(ValueError, match=r"floor|min"):
        adaptive_limiter(start, min=least, max=most)


async def test_lost_connections_are_overload_and_other_errors_say_nothing() -> None:
    flow = adaptive_limiter(4, max=9)
    for error in (TimeoutError(), ConnectionResetError(), KeyError()):
        with pytest.raises(type(error)):
            async with flow.permit():
                raise error
    assert flow.stats().overloads == 2
    assert Outcome.OVERLOAD is not Outcome.IGNORED
