"""The brake halves on failure, recovers, never starves, and survives a clock that jumps."""

import math

import pytest

from fluido import Outcome, Sample
from fluido.laws._base import Law
from fluido.laws._brake import Brake
from fluido.laws._fixed import Fixed


def ended(at_s: float, outcome: Outcome, limit: float = 10.0) -> Sample:
    return Sample("", at_s - 0.01, at_s, 0.0, 1, limit, outcome)


def run(brake: Brake, start_s: float, rounds: int, outcome: Outcome, limit: float = 10.0) -> float:
    now_s = start_s
    for _ in range(rounds * 4):
        brake.observe(ended(now_s, outcome, limit * brake.value))
        now_s += 0.26
    return now_s


def test_halves_to_one_in_flight_and_comes_back() -> None:
    brake = Brake(round_s=1.0)
    now_s = run(brake, 0.0, 2, Outcome.OVERLOAD)
    assert brake.value in {0.5, 0.25}
    now_s = run(brake, now_s, 9, Outcome.OVERLOAD)
    assert brake.value == pytest.approx(0.1)
    run(brake, now_s, 7, Outcome.OK)
    assert brake.value == 1.0


def test_a_minority_of_failures_does_not_brake() -> None:
    brake = Brake(round_s=1.0)
    for index in range(100):
        brake.observe(ended(index * 0.1, Outcome.OVERLOAD if index % 3 == 0 else Outcome.OK))
    assert brake.value == 1.0


def test_ignored_calls_say_nothing() -> None:
    brake = Brake(round_s=1.0)
    run(brake, 0.0, 5, Outcome.IGNORED)
    assert brake.value == 1.0


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0, math.nan, -math.inf])
def test_a_clock_that_jumps_is_survived(jump_s: float) -> None:
    brake = Brake(round_s=1.0)
    run(brake, 0.0, 2, Outcome.OVERLOAD)
    brake.observe(ended(jump_s, Outcome.OVERLOAD, math.nan))
    brake.tick(jump_s)
    assert 0 < brake.value <= 1
    run(brake, 5000.0, 8, Outcome.OK)
    assert brake.value == 1.0


@pytest.mark.parametrize("round_s", [0.0, -1.0, math.nan, math.inf])
def test_bad_rounds_are_refused(round_s: float) -> None:
    with pytest.raises(ValueError, match="round_s"):
        Brake(round_s=round_s)


def test_fixed_is_a_law_that_does_nothing() -> None:
    law = Fixed(7)
    assert isinstance(law, Law)
    first = law.observe(ended(1.0, Outcome.OVERLOAD))
    assert first is law.tick(2.0)
    assert (law.value, law.floor, law.ceiling, law.name) == (7, 7, 7, "fixed")
    for bad in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="fixed value"):
            Fixed(bad)
