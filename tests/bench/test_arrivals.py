"""Arrivals of a trace, and seeds."""

import pytest

from bench.arrivals import TraceTimed, spread_seed
from bench.traces import Trace, load_trace


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


def test_seeds_are_spread_and_repeatable() -> None:
    assert spread_seed("llm", 1, 2) == spread_seed("llm", 1, 2)
    assert len({spread_seed("llm", 1, index) for index in range(1000)}) == 1000


def test_the_trace_is_whole() -> None:
    conversation = load_trace()
    assert len(conversation) == 19_366
    assert conversation.prompt_tokens[:3] == (374, 396, 879)
    assert conversation.output_tokens[:3] == (44, 109, 55)
    assert conversation.rate_per_s == pytest.approx(5.53, abs=0.01)
