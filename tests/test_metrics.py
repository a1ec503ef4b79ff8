"""Histograms are close enough and add up; the log forgets the oldest and counts all."""

import math
import random

import pytest

from fluido._measure import Ewma, clip
from fluido._metrics import DecisionLog, Histogram


def test_quantiles_are_within_a_bucket() -> None:
    draw = random.Random(1)
    values = sorted(draw.lognormvariate(-4, 2) for _ in range(5000))
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    for q in (0.01, 0.5, 0.9, 0.99):
        exact = values[math.ceil(q * len(values)) - 1]
        assert histogram.quantile(q) == pytest.approx(exact, rel=0.033)
    assert histogram.sum_s == pytest.approx(sum(values))


def test_merged_histograms_answer_like_one() -> None:
    parts = [Histogram(), Histogram()]
    whole = Histogram()
    for index in range(1000):
        parts[index % 2].record(index / 1000)
        whole.record(index / 1000)
    parts[0].merge(parts[1])
    assert parts[0].counts == whole.counts
    assert parts[0].quantile(0.9) == whole.quantile(0.9)
    assert parts[0].count == 1000


def test_odd_values_are_kept_inside() -> None:
    histogram = Histogram()
    for value in (math.nan, -1.0, 0.0, 1e-9, math.inf, 1e12):
        histogram.record(value)
    assert histogram.count == 6
    assert histogram.quantile(0.5) == 0.0
    assert histogram.quantile(1.0) > 3600
    assert Histogram().quantile(0.5) == 0.0
    with pytest.raises(ValueError, match="quantile"):
        histogram.quantile(1.5)


def test_the_log_is_bounded_and_counts_reasons() -> None:
    log = DecisionLog(3)
    for index in range(5):
        log.record(float(index), index, "up" if index % 2 else "down", {})
    assert [record.value for record in log] == [2, 3, 4]
    assert len(log) == 3
    assert log.reasons == {"down": 3, "up": 2}


def test_ewma_starts_at_the_first_value_and_ignores_nonsense() -> None:
    mean = Ewma(0.5)
    assert mean.add(10.0) == 10.0
    assert mean.add(math.nan) == 10.0
    assert mean.add(20.0) == 15.0
    mean.reset()
    assert (mean.value, mean.count) == (0.0, 0)
    with pytest.raises(ValueError, match="weight"):
        Ewma(0.0)


def test_clip_keeps_nan_out() -> None:
    assert [clip(value, 1.0, 2.0) for value in (math.nan, -1.0, 1.5, 9.0)] == [1.0, 1.0, 1.5, 2.0]
