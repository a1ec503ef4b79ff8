"""The published laws, at the points where their formulas can be checked by hand, and with bad input."""

import math
import random

import pytest

from fluido import Outcome, Sample
from fluido.laws._base import Law
from fluido.laws._stream_gap import StreamGap
from fluido.testing.rivals.aimd import Aimd
from fluido.testing.rivals.elasticity import FromEight
from fluido.testing.rivals.gradient2 import Gradient2
from fluido.testing.rivals.vegas import Vegas


def call(
    law: Law, service_s: float, at_s: float, inflight: int = 100, outcome: Outcome = Outcome.OK
) -> float:
    return law.observe(Sample("", at_s - service_s, at_s, 0.0, inflight, law.value, outcome)).value


def test_aimd_adds_one_and_takes_a_tenth() -> None:
    law = Aimd(start=20)
    assert call(law, 0.01, 1.0) == 21
    assert call(law, 0.01, 1.0, inflight=3) == 21
    assert call(law, 6.0, 9.0) == 18
    assert call(law, 0.01, 9.0, outcome=Outcome.OVERLOAD) == 16
    assert call(law, 0.01, 9.0, outcome=Outcome.IGNORED) == 16


def test_gradient2_grows_by_its_queue_and_shrinks_by_its_gradient() -> None:
    law = Gradient2(start=20)
    assert call(law, 0.1, 1.0) == pytest.approx(20 + 0.2 * 4)
    for index in range(50):
        call(law, 0.1, 2.0 + index)
    high = law.value
    assert call(law, 1.0, 60.0) == pytest.approx(high * 0.8 + 0.2 * (high * 0.5 + 4), rel=0.05)
    before = law.value
    assert call(law, 0.1, 70.0, inflight=1) == before


def test_vegas_counts_the_queue() -> None:
    law = Vegas(start=20)
    step = math.log10(20)
    call(law, 0.1, 1.0)
    assert call(law, 0.1001, 2.0) == pytest.approx(20 + 6 * step)
    before = law.value
    assert call(law, 0.2, 3.0) == pytest.approx(before - math.log10(before))
    assert call(law, 0.2, 3.0, inflight=2) == law.value


def test_the_stream_gap_grows_under_lag_and_goes_to_nothing() -> None:
    law = StreamGap()
    seen = []
    for index in range(200):
        now_s = index * 0.05
        law.observe(Sample("", now_s - 0.01, now_s, 0.0, 0, 0.0))
        seen.append(law.value)
    assert seen[-1] == 0.040
    assert sorted(set(seen)) == [0.0, 0.005, 0.010, 0.020, 0.040]
    for index in range(600):
        now_s = 10.0 + index * 0.05
        law.observe(Sample("", now_s, now_s, 0.0, 0, 0.0))
    assert law.value == 0.0


def odd_sample(seed: int) -> Sample:
    draw = random.Random(seed)
    odd = [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e18, -1e18, 5.0, 5.001]
    return Sample(
        draw.choice(["", "a"]),
        draw.choice(odd),
        draw.choice(odd),
        draw.choice(odd),
        draw.choice([0, -5, 1, 10**9]),
        draw.choice(odd),
        draw.choice(list(Outcome)),
        draw.choice(odd),
    )


@pytest.mark.parametrize("make", [Aimd, Gradient2, Vegas, StreamGap, FromEight])
def test_nonsense_never_raises_and_never_leaves_the_bounds(make: type) -> None:
    law: Law = make(start=15, floor=1, ceiling=96) if make is FromEight else make()
    for seed in range(3000):
        value = law.observe(odd_sample(seed)).value
        assert law.floor <= value <= law.ceiling
        assert law.floor <= law.tick(odd_sample(seed).finished_s).value <= law.ceiling


@pytest.mark.parametrize("make", [Aimd, Gradient2, Vegas])
@pytest.mark.parametrize("bad", [{"start": 0.5}, {"floor": 0.0}, {"ceiling": math.inf}, {"start": math.nan}])
def test_contradictions_are_refused(make: type, bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need 1 <= floor"):
        make(**bad)
