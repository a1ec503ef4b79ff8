"""The law of an engine's in-flight limit, fed by hand."""

import math
import random

import pytest

from fluido._sample import Outcome, Sample
from fluido.laws._engine_limit import LATE, UNKNOWN_START, EngineLimit
from fluido.laws._soonest import PROMPT, TOKEN, Soonest


def piece(label: str, now_s: float, took_s: float, inflight: int, limit: float) -> Sample:
    return Sample(label, now_s - took_s, now_s, 0.0, inflight, limit)


def ended(law: EngineLimit, now_s: float, inflight: int, outcome: Outcome = Outcome.OK) -> None:
    law.observe(Sample("", now_s - 1.0, now_s, 0.0, inflight, law.value, outcome, units=30.0))


def test_it_begins_at_what_the_engine_does_by_itself() -> None:
    assert EngineLimit(4).value == 4
    assert EngineLimit(None).value == UNKNOWN_START, "unknown: as many as come, bounded"
    assert EngineLimit(None, most=8).value == 8
    assert EngineLimit(100, most=64).value == 64
    assert EngineLimit(None, usual_slots=4).value == 8, "a few more than those of its kind have"
    assert EngineLimit(16, usual_slots=4).value == 16, "what it tells is believed"


def first_tokens(law: EngineLimit, count: int, *, inflight: int, waiting: int) -> None:
    """So many calls were heard for the first time, at once."""
    for _ in range(count):
        law.room(1.0, inflight + waiting, 1.0)
        law.progress(piece(PROMPT, 1.0, 0.1, inflight, law.value))


def test_an_engine_that_answers_most_at_once_is_given_more_and_one_that_does_not_is_not() -> None:
    many, few, idle = (EngineLimit(None, usual_slots=4) for _ in range(3))
    first_tokens(many, 7, inflight=8, waiting=50)
    assert many.value == 72
    first_tokens(few, 4, inflight=8, waiting=50)
    assert few.value == 9, "the first one might have been an answer of one piece"
    first_tokens(idle, 200, inflight=1, waiting=0)
    assert idle.value == 8, "while nobody waits nothing is known of a burst"


@pytest.mark.parametrize(("slots", "most", "usual"), [(0, 8, None), (4, 0, None), (None, 8, 0), (-1, 8, 4)])
def test_an_engine_has_a_slot(slots: int | None, most: int, usual: int | None) -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        EngineLimit(slots, most=most, usual_slots=usual)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_calls_that_wait_inside_the_engine_show_its_slots(slots: int) -> None:
    """Whoever had to wait saw as many served before it as the engine has slots, itself included."""
    law = EngineLimit(None)
    now_s = 0.0
    for number in range(4 * slots + 8):
        now_s += 0.2
        ended(law, now_s, 8)
        law.progress(piece(LATE, now_s, 1.0, 1 + number % slots, law.value))
    assert law.value == slots
    assert law.found_slots == slots


def test_one_late_call_is_an_accident() -> None:
    law = EngineLimit(None)
    law.progress(piece(LATE, 1.0, 1.0, 3, law.value))
    assert law.value == UNKNOWN_START


def test_what_the_engine_refuses_bounds_it_and_is_asked_again_later() -> None:
    law = EngineLimit(None)
    for inflight in (21, 22, 23):
        ended(law, 1.0, inflight, Outcome.OVERLOAD)
    assert law.value == 20
    ended(law, 30.0, 20)
    assert law.ceiling > law.value, "told by nobody: it may have more"
    assert law.value == 20
    ended(law, 62.0, 20)
    assert law.observe(Sample("", 61.0, 62.0, 0.0, 20, 20.0)).value == 20
    for _ in range(2):
        ended(law, 63.0, 21, Outcome.OVERLOAD)
    assert law.value == 20, "what is above it was refused again"


def test_told_slots_are_never_passed() -> None:
    law, chance = EngineLimit(4), random.Random(1)
    now_s = 0.0
    for _ in range(5000):
        now_s += 0.01
        inflight = int(law.value)
        law.room(now_s, 50, now_s)
        law.progress(piece(TOKEN, now_s, 0.02 * chance.uniform(0.5, 1.5), inflight, law.value))
        assert 1 <= law.value <= 4


@pytest.mark.parametrize(
    "times", [(math.nan, 1.0), (1.0, math.nan), (math.inf, math.inf), (2.0, 1.0), (-math.inf, 1.0)]
)
def test_nonsense_changes_nothing(times: tuple[float, float]) -> None:
    law = EngineLimit(None)
    before = law.tick(0.0)
    for label in (TOKEN, PROMPT, LATE):
        for _ in range(40):
            assert law.progress(Sample(label, *times, 0.0, 4, 4.0)) is before
    assert law.observe(Sample("", *times, 0.0, 4, 4.0, Outcome.OVERLOAD)) is before


def seen(
    shared_s: float, own_s: float, *, alike: bool = True, counts: tuple[int, ...] = (1, 2, 4)
) -> Soonest:
    """An engine on which an answer of ten tokens takes `shared_s` + `own_s` n."""
    curve = Soonest()
    for number in range(40):
        curve.ended(30.0 if alike or number % 4 else 300.0)
        for n in counts:
            curve.learn(PROMPT, (shared_s + own_s * n) / 11, n, 1.0, 1.0)
            for _ in range(10):
                curve.learn(TOKEN, (shared_s + own_s * n) / 11, n, 1.0, 1.0)
    return curve


def test_on_a_processor_one_at_a_time_is_soonest_while_few_are_there() -> None:
    curve = seen(0.01, 0.2)
    assert curve.inflight(3, 0.3, 1.0, 2.0) == 1
    assert curve.inflight(3, 0.9, 1.0, 2.0) == math.inf, "at work all the time: nobody is held back"


def test_on_a_gpu_all_of_them_are() -> None:
    assert seen(0.2, 0.002).inflight(8, 0.5, 1.0, 2.0) >= 8


def test_what_was_hardly_seen_holds_nobody_back() -> None:
    assert Soonest().inflight(3, 0.1, 1.0, 1.0) == math.inf
    assert seen(0.01, 0.2, counts=(3, 4)).inflight(3, 0.1, 1.0, 3.0) == math.inf, "too near to tell"
    assert seen(0.01, 0.2).inflight(3, 0.1, 100.0, 2.0) == math.inf, "too long ago"


def test_answers_of_very_different_length_hold_nobody_back() -> None:
    assert seen(0.01, 0.2, alike=False).inflight(3, 0.3, 1.0, 2.0) == math.inf


def test_the_busier_the_engine_the_more_are_let_in() -> None:
    curve = seen(0.2, 0.2)
    rooms = [curve.inflight(4, busy, 1.0, 2.0) for busy in (0.0, 0.3, 0.5, 0.7)]
    assert rooms == sorted(rooms)
    assert rooms[0] < rooms[-1]


def test_elasticity_tells_a_gpu_from_a_processor_and_from_a_loss() -> None:
    assert seen(0.2, 0.002).elasticity(4, 1.0) == pytest.approx(0.96, abs=0.01)
    assert seen(0.0, 0.2).elasticity(4, 1.0) == pytest.approx(0.0, abs=0.01)
    assert seen(-0.1, 0.2).elasticity(2, 1.0) < -0.15
    assert Soonest().elasticity(4, 1.0) is None
