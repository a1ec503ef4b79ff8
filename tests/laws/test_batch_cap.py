"""The cap ends where one row is cheapest."""

import math
import random

import pytest

from fluido import Outcome, Sample
from fluido.laws._batch_cap import BatchCap


def full(law: BatchCap, seconds: float, outcome: Outcome = Outcome.OK) -> None:
    cap = law.value
    law.observe(Sample("", 0.0, seconds, 0.0, 1, cap, outcome, float(math.floor(cap))))


@pytest.mark.parametrize(("fixed_s", "square_s"), [(2e-3, 1e-7), (1e-2, 1e-7), (5e-4, 1e-6), (2e-3, 1e-9)])
def test_finds_the_cheapest_row(fixed_s: float, square_s: float) -> None:
    law = BatchCap()
    noise = random.Random(4)
    for _ in range(400):
        rows = math.floor(law.value)
        full(law, (fixed_s + 20e-6 * rows + square_s * rows**2) * noise.uniform(0.98, 1.02))

    def per_row(rows: float) -> float:
        return fixed_s / rows + 20e-6 + square_s * rows

    best = min(20_000, math.sqrt(fixed_s / square_s))
    assert per_row(law._centre) <= 1.06 * per_row(best)


def test_batches_that_are_not_full_teach_nothing() -> None:
    law = BatchCap(32)
    for _ in range(100):
        law.observe(Sample("", 0.0, 0.01, 0.0, 1, law.value, Outcome.OK, 7.0))
    assert law.value == 32


def test_an_overload_halves() -> None:
    law = BatchCap(32)
    full(law, 1.0, Outcome.OVERLOAD)
    assert (law.value, law.tick(0.0).reason) == (16.0, "overload")
    for _ in range(10):
        full(law, 1.0, Outcome.OVERLOAD)
    assert law.value == 1.0


@pytest.mark.parametrize("seconds", [math.nan, 0.0, -1.0, math.inf])
def test_nonsense_is_ignored(seconds: float) -> None:
    law = BatchCap(32)
    for _ in range(20):
        full(law, seconds)
    assert law.value == 32


@pytest.mark.parametrize(("start", "floor", "ceiling"), [(0, 1, 9), (5, 6, 9), (5, 1, 4), (5, 1, math.inf)])
def test_contradictory_bounds_are_refused(start: float, floor: float, ceiling: float) -> None:
    with pytest.raises(ValueError, match="floor"):
        BatchCap(start, floor=floor, ceiling=ceiling)
