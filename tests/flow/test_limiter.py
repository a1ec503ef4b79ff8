"""A limiter measures, tells its law, obeys it, and says so."""

import asyncio
from collections.abc import Iterable

import pytest

from fluido import Closed, Fixed, Limiter, LimitReached, Outcome, Sample, label
from fluido.laws._base import Decision, Law
from fluido.laws._brake import Brake

pytestmark = pytest.mark.anyio


class Scripted:
    """Answers the values it was given, one a sample; an exception among them is raised."""

    name = "scripted"
    floor = 1.0
    ceiling = 50.0

    def __init__(self, start: float, then: Iterable[float | Exception] = ()) -> None:
        self.decision = Decision(start, "start")
        self.script = list(then)
        self.samples: list[Sample] = []
        self.ticks: list[float] = []

    @property
    def value(self) -> float:
        return self.decision.value

    def observe(self, sample: Sample, /) -> Decision:
        self.samples.append(sample)
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            self.decision = Decision(step, "script", {"step": step})
        return self.decision

    def tick(self, now_s: float, /) -> Decision:
        self.ticks.append(now_s)
        return self.decision


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def limiter(law: Law, **more: object) -> Limiter:
    return Limiter(law, name="db", max_waiting=10, **more)  # type: ignore[arg-type]


async def test_a_call_becomes_a_sample() -> None:
    law, clock = Scripted(2), Clock()
    flow = limiter(law, clock=clock)
    with label("report"):
        async with flow.permit() as permit:
            clock.now_s += 0.5
            permit.units = 3
    (sample,) = law.samples
    assert sample == Sample("report", 100.0, 100.5, 0.0, 1, 2.0, Outcome.OK, 3)
    assert sample.service_s == 0.5
    stats = flow.stats()
    assert (stats.name, stats.kind, stats.law, stats.completed, stats.admitted) == (
        "db",
        "limiter",
        "scripted",
        1,
        1,
    )
    assert stats.service_ms_p50 == pytest.approx(500, rel=0.04)


async def test_a_decision_resizes_the_gate_and_is_logged_with_its_reason() -> None:
    law = Scripted(2, [5.5])
    flow = limiter(law)
    async with flow.permit():
        pass
    assert flow.gate.limit == 5.5
    (record,) = flow.stats().decisions
    assert (record.value, record.reason, record.inputs) == (5.5, "script", {"step": 5.5})
    assert flow.stats().reasons == {"script": 1}


async def test_the_wait_is_told_apart_from_the_service() -> None:
    law, clock = Scripted(1), Clock()
    flow = limiter(law, clock=clock)

    async def second() -> None:
        async with flow.permit():
            clock.now_s += 2

    async with flow.permit():
        task = asyncio.create_task(second())
        await asyncio.sleep(0)
        clock.now_s += 3
    await task
    assert [(s.wait_s, s.service_s) for s in law.samples] == [(0, 3), (3, 2)]


async def test_failures_are_ignored_unless_the_classifier_knows_better() -> None:
    law = Scripted(2)
    flow = limiter(law, classify=lambda e: Outcome.OVERLOAD if isinstance(e, OSError) else Outcome.IGNORED)
    for error in (OSError(), KeyError()):
        with pytest.raises(type(error)):
            async with flow.permit():
                raise error

    async def told() -> None:
        async with flow.permit() as permit:
            permit.outcome = Outcome.OK
            raise OSError("told")

    with pytest.raises(OSError, match="told"):
        await told()
    assert [s.outcome for s in law.samples] == [Outcome.OVERLOAD, Outcome.IGNORED, Outcome.OK]
    assert flow.stats().overloads == 1
    assert flow.gate.inflight == 0


async def test_pinning_turns_the_law_off_and_says_so() -> None:
    law = Scripted(2, [9])
    flow = limiter(law)
    flow.pin(4)
    async with flow.permit():
        pass
    assert law.samples == []
    assert (flow.stats().pinned, flow.stats().value) == (True, 4)
    flow.unpin()
    assert (flow.stats().pinned, flow.stats().value) == (False, 2)
    assert [d.reason for d in flow.stats().decisions] == ["pinned", "unpinned"]
    with pytest.raises(ValueError, match="limit"):
        flow.pin(0)
    assert not flow.stats().pinned


async def test_a_shadow_law_computes_and_does_not_act() -> None:
    flow = limiter(Scripted(2, [9, 12]), shadow=True)
    async with flow.permit():
        pass
    assert flow.gate.limit == 2
    assert flow.stats().decisions[-1].value == 9
    flow.pin(3)
    async with flow.permit():
        pass
    assert (flow.gate.limit, flow.stats().decisions[-1].value) == (3, 12)


@pytest.mark.parametrize("bad", [ZeroDivisionError(), float("nan"), float("inf"), -5.0, 1e9])
async def test_a_broken_law_fails_no_call_and_leaves_no_bound(
    bad: float | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    flow = limiter(Scripted(2, [bad, bad, bad]))
    for _ in range(3):
        async with flow.permit():
            pass
    assert 1 <= flow.gate.limit <= 50
    told = [record for record in caplog.records if record.name == "fluido.flow"]
    assert len(told) == isinstance(bad, Exception)  # with its traceback, once


async def test_the_brake_scales_the_limit_and_freezes_the_law() -> None:
    clock, law = Clock(), Scripted(16)
    flow = limiter(law, clock=clock, brake=Brake(round_s=1), classify=lambda _: Outcome.OVERLOAD)
    for _ in range(3):
        for _ in range(5):
            with pytest.raises(OSError, match="down"):
                async with flow.permit():
                    raise OSError("down")
        clock.now_s += 1.01
    taken = len(law.samples)
    assert flow.gate.limit <= 8
    for _ in range(8):
        async with flow.permit():
            pass
        clock.now_s += 1.01
    assert flow.gate.limit == 16
    assert law.value == 16
    assert len(law.samples) > taken
    assert {"brake_failing", "brake_healthy"} <= set(flow.stats().reasons)


async def test_a_wait_that_cannot_fit_is_refused_at_once() -> None:
    clock = Clock()
    flow = limiter(Fixed(1), clock=clock)
    async with flow.permit():
        clock.now_s += 1.0
    async with flow.permit():
        with pytest.raises(LimitReached) as refusal:
            async with flow.permit(deadline_s=clock.now_s + 0.5):
                pass
    assert refusal.value.predicted_wait_s == pytest.approx(1.0)
    assert refusal.value.retry_after_s == pytest.approx(1.0)
    assert flow.stats().refused == 1


async def test_the_law_hears_of_time_that_passes_without_completions() -> None:
    clock, law = Clock(), Scripted(1)
    flow = limiter(law, clock=clock)
    async with flow.permit():
        task = asyncio.create_task(flow.permit().__aenter__())
        await asyncio.sleep(0)
        assert law.ticks == [100.0]
    await task


async def test_closing() -> None:
    flow = limiter(Fixed(1))
    flow.close()
    flow.close()
    with pytest.raises(Closed):
        async with flow.permit():
            pass
