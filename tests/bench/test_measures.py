"""A stage that asked nobody: its time is a bound, and so is its ratio."""

from dataclasses import replace

import pytest

from bench.claims import Claim, claims
from bench.measures import ROUND_TRIP_S
from bench.samples import Results
from bench.statistics import Verdict

from .builders import results


def redis(run: Results) -> Claim:
    return next(claim for claim in claims(run) if claim.measure.name == "Redis p50")


def with_cache(run: Results, **seconds: float) -> Results:
    """The same run, in which an arm's requests spent so long on Redis."""
    blocks = [
        replace(
            block, samples=tuple(replace(s, cache_s=seconds.get(block.arm, s.cache_s)) for s in block.samples)
        )
        for block in run.blocks
    ]
    return replace(run, blocks=blocks)


def test_a_time_below_any_round_trip_counts_as_one() -> None:
    found = redis(with_cache(results(), v1=0.001, v2=3e-6))
    assert found.treatment_value.estimate == ROUND_TRIP_S
    assert found.comparison.ratio == pytest.approx(0.001 / ROUND_TRIP_S)
    assert found.row()["floor"] == ROUND_TRIP_S * 1e3


def test_zero_is_no_division_by_zero() -> None:
    found = redis(with_cache(results(), v1=0.001, v2=0.0))
    assert found.comparison.ratio == pytest.approx(0.001 / ROUND_TRIP_S)
    assert found.verdict is Verdict.BETTER


def test_two_tiny_numbers_are_not_different() -> None:
    found = redis(with_cache(results(), v1=9e-6, v2=2e-6))
    assert (found.comparison.ratio, found.verdict) == (1.0, Verdict.UNDECIDED)


def test_other_measures_have_no_floor() -> None:
    found = next(claim for claim in claims(results()) if claim.measure.name == "end to end p50")
    assert found.row()["floor"] is None
