"""Arrivals: rates, bursts and seeds."""

import itertools

import pytest

from bench.arrivals import Burst, Constant, Poisson, TraceTimed, spread_seed
from bench.traces import Trace, load_trace


def test_constant_is_even() -> None:
    assert Constant(4.0).offsets_s(3, seed=1) == (0.0, 0.25, 0.5)


def test_poisson_has_its_rate_and_its_spread() -> None:
    times = Poisson(5.0).offsets_s(20_000, seed=3)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.2, rel=0.03)
    assert variance**0.5 / mean == pytest.approx(1.0, rel=0.05)


def test_the_same_seed_gives_the_same_times_and_another_seed_others() -> None:
    assert Poisson(5.0).offsets_s(9, seed=3) == Poisson(5.0).offsets_s(9, seed=3)
    assert Poisson(5.0).offsets_s(9, seed=3) != Poisson(5.0).offsets_s(9, seed=4)


def test_every_stretch_of_a_trace_offers_the_same_load_with_its_own_bursts() -> None:
    trace = load_trace()
    for seed in range(20):
        times = TraceTimed(trace, 2.0).offsets_s(40, seed=seed)
        assert len(times) == 40
        assert times[-1] == pytest.approx(20.0)
        assert list(times) == sorted(times)


def test_a_trace_that_is_too_short_says_so() -> None:
    with pytest.raises(ValueError, match="has 2 requests, 6 needed"):
        TraceTimed(Trace("tiny", (0.0, 1.0), (1, 1), (1, 1)), 1.0).offsets_s(5, seed=1)


def test_a_burst_stands_in_the_middle() -> None:
    times = Burst(2.0, size=10).offsets_s(30, seed=1)
    assert len(times) == 30
    common = max(set(times), key=times.count)
    assert times.count(common) >= 10
    assert times[0] < common < times[-1]


def test_seeds_are_spread_and_repeatable() -> None:
    assert spread_seed("llm", 1, 2) == spread_seed("llm", 1, 2)
    assert len({spread_seed("llm", 1, index) for index in range(1000)}) == 1000


def test_traces_are_whole() -> None:
    conversation, code = load_trace(), load_trace("azure_code")
    assert (len(conversation), len(code)) == (19_366, 8_819)
    assert conversation.prompt_tokens[:3] == (374, 396, 879)
    assert conversation.output_tokens[:3] == (44, 109, 55)
    assert conversation.rate_per_s == pytest.approx(5.53, abs=0.01)
