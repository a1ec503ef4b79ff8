"""Checked against distributions whose truth is known."""

import math

import numpy as np
import pytest

from bench.statistics import (
    P50,
    P95,
    Comparison,
    Mean,
    Pool,
    Quantile,
    Verdict,
    compare,
    decide,
    holm,
    interval,
    smallest_p,
)


def clustered(
    source: np.random.Generator, blocks: int, size: int, *, scale: float = 1.0
) -> list[list[float]]:
    """Lognormal latencies; every block has a mood of its own, as a real machine does."""
    moods = source.normal(0, 0.3, blocks)
    return [list(scale * np.exp(source.normal(mood, 0.6, size))) for mood in moods]


def test_quantile_is_the_inverse_of_the_empirical_distribution() -> None:
    pool = Pool([[1.0], [3.0], [2.0], [4.0]])
    once = np.ones((1, 4))
    assert Quantile(0.5).evaluate(pool, once)[0] == 2.0
    assert Quantile(0.75).evaluate(pool, once)[0] == 3.0
    assert Quantile(0.76).evaluate(pool, once)[0] == 4.0
    assert Quantile(1.0).evaluate(pool, once)[0] == 4.0
    assert Quantile(0.5).evaluate(pool, np.array([[0.0, 1.0, 0.0, 5.0]]))[0] == 4.0
    assert Mean().evaluate(pool, np.array([[0.0, 1.0, 0.0, 1.0]]))[0] == 3.5


def test_a_resampled_quantile_is_that_of_the_samples_repeated() -> None:
    source = np.random.default_rng(3)
    blocks = [list(source.exponential(1.0, size)) for size in (1, 7, 30, 12)]
    counts = source.multinomial(4, [0.25] * 4, size=50).astype(np.float64)
    for q in (0.05, 0.5, 0.95, 0.99):
        found = Quantile(q).evaluate(Pool(blocks), counts)
        for row, value in zip(counts, found, strict=True):
            drawn = [
                x for block, times in zip(blocks, row, strict=True) for _ in range(int(times)) for x in block
            ]
            assert value == np.quantile(drawn, q, method="inverted_cdf")


def test_the_smallest_p_of_a_plan_is_that_of_differences_that_all_point_one_way() -> None:
    for rounds in (5, 7, 8, 12):
        far = compare([[10.0 + n] for n in range(rounds)], [[1.0]] * rounds, P50, seed=1)
        assert smallest_p(rounds) == pytest.approx(far.p_value)
    assert smallest_p(4) == 1.0
    assert smallest_p(20) < 0.001


def test_interval_covers_the_true_median_of_clustered_samples() -> None:
    source = np.random.default_rng(7)
    runs, covered = 300, 0
    for run in range(runs):
        found = interval(clustered(source, 8, 20), P50, seed=run, resamples=400)
        covered += found.low <= 1.0 <= found.high
    assert 0.92 <= covered / runs <= 1.0


def test_interval_of_single_requests_would_not_cover() -> None:
    """The reason for blocks: the same data resampled request by request is far too sure of itself."""
    source = np.random.default_rng(7)
    runs, covered = 200, 0
    for run in range(runs):
        singles = [[value] for block in clustered(source, 8, 20) for value in block]
        found = interval(singles, P50, seed=run, resamples=300)
        covered += found.low <= 1.0 <= found.high
    assert covered / runs < 0.8


@pytest.mark.parametrize("statistic", [P50, P95, Mean()], ids=lambda s: s.name)
def test_two_equal_arms_differ_in_at_most_five_percent_of_runs(statistic: Quantile | Mean) -> None:
    source = np.random.default_rng(11)
    runs, wrong = 200, 0
    for run in range(runs):
        moods = source.normal(0, 0.3, 8)
        first, second = ([list(np.exp(source.normal(mood, 0.6, 12))) for mood in moods] for _ in range(2))
        claim = compare(first, second, statistic, seed=run, resamples=300)
        wrong += decide([claim])[0] is not Verdict.UNDECIDED
    # 5 % of 200 is 10; a fair test exceeds 16 in about 2 of 100 seeds, and this seed is fixed.
    assert wrong <= 16


def test_a_real_difference_is_found_with_its_size() -> None:
    source = np.random.default_rng(3)
    inside, better = 0, 0
    for run in range(60):
        slow, fast = clustered(source, 10, 15, scale=3.0), clustered(source, 10, 15)
        claim = compare(slow, fast, P50, seed=run, resamples=400)
        inside += claim.low <= 3.0 <= claim.high
        better += decide([claim])[0] is Verdict.BETTER
    assert inside >= 53
    assert better >= 57


def test_direction_follows_what_is_better() -> None:
    low, high = [[10.0 + i] for i in range(8)], [[20.0 + i] for i in range(8)]
    latency = compare(low, high, P50, seed=1)
    throughput = compare(low, high, Mean(), seed=1, lower_is_better=False)
    assert latency.ratio < 1 < throughput.ratio
    assert decide([latency]) == [Verdict.WORSE]
    assert decide([throughput]) == [Verdict.BETTER]


def test_pairing_removes_a_drift_that_hits_both_arms() -> None:
    drift = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
    claim = compare([[d] for d in drift], [[d / 1.2] for d in drift], Mean(), seed=5)
    assert math.isclose(claim.ratio, 1.2)
    assert decide([claim]) == [Verdict.BETTER]


def test_few_blocks_decide_nothing() -> None:
    claim = compare([[100.0]] * 4, [[1.0]] * 4, P50, seed=1)
    assert math.isclose(claim.ratio, 100)
    assert math.isnan(claim.low)
    assert decide([claim]) == [Verdict.UNDECIDED]
    assert math.isnan(interval([[1.0]] * 4, P50, seed=1).high)


def test_blocks_without_answers_leave_the_pair_out() -> None:
    claim = compare([[1.0], [], [1.0]], [[1.0], [1.0], []], P50, seed=1)
    assert (claim.blocks, claim.control_samples, claim.treatment_samples) == (1, 1, 1)
    nothing = compare([[]], [[]], P50, seed=1)
    assert math.isnan(nothing.ratio)
    assert decide([nothing]) == [Verdict.UNDECIDED]
    assert math.isnan(interval([[], []], P50, seed=1).estimate)


def test_detectable_effect_shrinks_with_more_blocks() -> None:
    source = np.random.default_rng(2)
    found = [
        compare(clustered(source, n, 15), clustered(source, n, 15), P50, seed=1).detectable for n in (6, 40)
    ]
    assert 1 < found[1] < found[0]


def test_detectable_effect_is_seen_four_times_in_five() -> None:
    source = np.random.default_rng(23)

    def run(scale: float, seed: int) -> Comparison:
        slow, fast = clustered(source, 9, 15, scale=scale), clustered(source, 9, 15)
        return compare(slow, fast, P50, seed=seed, resamples=300)

    size = float(np.median([run(1.0, seed).detectable for seed in range(20)]))
    seen = sum(decide([run(size, seed)])[0] is Verdict.BETTER for seed in range(80))
    assert 0.6 <= seen / 80 <= 0.95


def test_holm_is_as_in_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_a_family_of_equal_arms_is_rarely_accused_of_anything() -> None:
    source = np.random.default_rng(17)
    accused = 0
    for run in range(60):
        family = [
            compare(clustered(source, 9, 10), clustered(source, 9, 10), P50, seed=run, resamples=200)
            for _ in range(5)
        ]
        accused += any(verdict is not Verdict.UNDECIDED for verdict in decide(family))
    assert accused <= 6


def test_the_same_seed_gives_the_same_interval() -> None:
    blocks = clustered(np.random.default_rng(1), 9, 10)
    assert interval(blocks, P50, seed=4) == interval(blocks, P50, seed=4)
