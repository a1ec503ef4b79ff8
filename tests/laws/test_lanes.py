"""Who is heavy, for how long, and what is forgotten."""

import math

import pytest

from fluido import Outcome, Sample
from fluido.laws._lanes import Lanes


def call(law: Lanes, label: str, cost_s: float, at_s: float = 0.0, times: int = 1) -> None:
    for _ in range(times):
        law.observe(Sample(label, at_s, at_s + cost_s, 0.0, 1, 8.0))


def mix(law: Lanes, heavy_s: float, rounds: int = 40) -> None:
    for _ in range(rounds):
        call(law, "get", 0.005, times=9)
        call(law, "report", heavy_s)


def test_ten_times_the_median_is_heavy_and_five_is_light_again() -> None:
    law = Lanes()
    mix(law, 0.100)
    assert law.is_heavy("report")
    assert not law.is_heavy("get")
    assert (law.value, law.tick(1.0).reason) == (1.0, "heavy:report")
    mix(law, 0.035)
    assert law.is_heavy("report"), "between 5 and 10 times nothing changes"
    mix(law, 0.010)
    assert not law.is_heavy("report")
    assert law.tick(1.0).reason == "light:report"


def test_twenty_calls_are_needed() -> None:
    law = Lanes()
    mix(law, 0.5, rounds=10)
    assert not law.is_heavy("report")


def test_who_did_not_come_for_ten_minutes_is_forgotten() -> None:
    law = Lanes()
    mix(law, 0.5)
    call(law, "get", 0.005, at_s=700.0, times=20)
    assert not law.is_heavy("report")


def test_classes_are_bounded() -> None:
    law = Lanes(max_classes=10)
    for index in range(100):
        call(law, f"c{index}", 0.01, at_s=float(index))
    assert len(law._classes) == 10
    with pytest.raises(ValueError, match="max_classes"):
        Lanes(max_classes=0)


@pytest.mark.parametrize("cost_s", [math.nan, -1.0, math.inf])
def test_nonsense_is_ignored(cost_s: float) -> None:
    law = Lanes()
    call(law, "odd", cost_s, times=100)
    law.tick(math.nan)
    law.observe(Sample("x", 0, 1, 0, 1, 1, Outcome.IGNORED))
    assert (law.value, law._classes) == (0.0, {})
