"""The load of a fault run lasts as long as its faults, however short the trace is."""

import pytest

from bench.faults.run import times_s
from bench.traces import Trace, load_trace


def test_a_load_longer_than_the_trace_goes_on_at_the_same_rate() -> None:
    whole = load_trace()
    short = Trace("short", whole.at_s[:500], whole.prompt_tokens[:500], whole.output_tokens[:500])
    times = times_s(short, 40.0, 2_000, seed=7)
    assert len(times) == 2_000
    assert times == sorted(times)
    assert times[-1] == pytest.approx(2_000 / 40.0)
    assert times[0] > 0


def test_the_same_seed_gives_the_same_times() -> None:
    trace = load_trace()
    assert times_s(trace, 20.0, 300, seed=1) == times_s(trace, 20.0, 300, seed=1)
    assert times_s(trace, 20.0, 300, seed=1) != times_s(trace, 20.0, 300, seed=2)
