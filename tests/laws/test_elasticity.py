"""Numbers in, numbers out: when the law probes, learns, moves and stays."""

import math
import random

import pytest

from fluido import Outcome, Sample
from fluido.laws.elasticity import Elasticity
from fluido.laws.pairs import Evidence, Tally, sign
from fluido.laws.ramp import Ramp
from fluido.testing.curve import Curve


def law(**more: float | bool | str) -> Elasticity:
    return Elasticity(**({"start": 8.0, "floor": 2.0, "ceiling": 100.0} | more))  # type: ignore[arg-type]


def saturate(tested: Elasticity, curve: Curve, start_s: float, duration_s: float) -> float:
    """A server without randomness and with endless demand: a call ends every 1/X(n) seconds."""
    now_s = start_s
    credit = 0.0
    while now_s < start_s + duration_s:
        limit = tested.value
        credit = (credit + 0.6180339887) % 1.0
        inside = max(1, math.floor(limit + credit))
        rate = curve(inside)
        now_s += 1.0 / rate
        tested.observe(Sample("get", now_s - inside / rate, now_s, 1.0, inside, limit))
    return now_s


HOT_ROW = Curve.through([(1, 453), (2, 555), (4, 759), (6, 907), (8, 972), (15, 842), (24, 709), (96, 303)])


@pytest.mark.parametrize("start", [2.0, 8.0, 64.0])
def test_ends_where_one_more_is_no_longer_worth_it(start: float) -> None:
    tested = law(start=start)
    saturate(tested, HOT_ROW, 0.0, 30.0)
    assert HOT_ROW(round(tested.limit)) >= 0.93 * 972


def test_idle_capacity_is_taken_up_to_the_ceiling_and_then_seldom_probed() -> None:
    tested = law()
    end_s = saturate(tested, Curve([50.0 * n for n in range(1, 200)]), 0.0, 10.0)
    assert tested.limit == 100
    values = set()
    for _ in range(40):
        end_s = saturate(tested, Curve([50.0 * n for n in range(1, 200)]), end_s, 0.25)
        values.add(tested.value)
    assert 100.0 in values


def test_a_limit_that_does_not_bind_is_left_alone() -> None:
    tested = law(start=20.0)
    for index in range(20_000):
        now_s = index * 0.001
        decision = tested.observe(Sample("get", now_s - 0.005, now_s, 0.0, 5, tested.value))
        assert decision.value == 20.0


def test_connections_that_are_only_being_opened_are_no_collapse() -> None:
    """Permits are held, few calls are at work: throughput falls, and those take as long as ever."""
    tested = law()
    end_s = saturate(tested, HOT_ROW, 0.0, 20.0)
    reached = tested.limit
    for index in range(400):
        now_s = end_s + index * 0.01  # a hundred calls a second of 12 ms, where there were 970 of 9 ms
        limit = tested.value
        tested.observe(Sample("get", now_s - 0.012, now_s, 1.0, math.floor(limit), limit))
        assert tested._decision.reason != "collapse"
    assert tested.limit > reached / 2


def test_calls_that_take_ten_times_as_long_and_do_less_are_a_collapse() -> None:
    tested = law()
    end_s = saturate(tested, HOT_ROW, 0.0, 20.0)
    reached = tested.limit
    broken = Curve([400.0 / n for n in range(1, 200)])
    reasons = set()
    for _ in range(40):
        end_s = saturate(tested, broken, end_s, 0.1)
        reasons.add(tested._decision.reason)
    assert "collapse" in reasons
    assert tested.limit <= reached / 2


def test_a_limit_that_is_not_in_force_teaches_nothing() -> None:
    tested = law()
    for index in range(20_000):
        now_s = index * 0.001
        tested.observe(Sample("get", now_s - 0.005, now_s, 1.0, 5, 5.0))
    assert tested.limit == 8.0


def test_idle_minutes_forget_a_high_limit() -> None:
    tested = law()
    saturate(tested, Curve([50.0 * n for n in range(1, 200)]), 0.0, 10.0)
    assert tested.limit > 50
    for index in range(13_000):
        now_s = 11.0 + index * 0.1
        tested.observe(Sample("get", now_s - 0.005, now_s, 0.0, 3, tested.value))
    assert tested.limit == 8.0
    assert tested.tick(1e4).reason in {"idle", "probe"}


def test_failed_calls_are_not_throughput() -> None:
    tested = law()
    for index in range(20_000):
        now_s = index * 0.001
        tested.observe(Sample("get", now_s - 0.005, now_s, 1.0, 8, tested.value, Outcome.OVERLOAD))
    assert tested.limit == 8.0


def nonsense(seed: int) -> Sample:
    draw = random.Random(seed)
    odd = [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e18, -1e18, 5.0, 5.001, 3600.0]
    return Sample(
        draw.choice(["", "a", "b"]),
        draw.choice(odd),
        draw.choice(odd),
        draw.choice(odd),
        draw.choice([0, -5, 1, 10**9]),
        draw.choice(odd),
        draw.choice(list(Outcome)),
        draw.choice(odd),
    )


@pytest.mark.parametrize("fleet", [False, True])
def test_nonsense_never_raises_and_never_leaves_the_bounds(fleet: bool) -> None:
    tested = law(fleet=fleet)
    for seed in range(5000):
        decision = tested.observe(nonsense(seed))
        assert 2.0 <= decision.value <= 100.0
        assert 2.0 <= tested.tick(nonsense(seed).finished_s).value <= 100.0
    saturate(tested, HOT_ROW, 1e6, 20.0)
    assert 2.0 <= tested.limit <= 100.0


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0, -0.3])
def test_a_clock_that_jumps_costs_a_pair_and_no_more(jump_s: float) -> None:
    tested = law()
    end_s = saturate(tested, HOT_ROW, 1e5, 10.0)
    before = tested.limit
    saturate(tested, HOT_ROW, end_s + jump_s, 10.0)
    assert tested.limit == pytest.approx(before, rel=0.35)


@pytest.mark.parametrize(
    "bad",
    [
        {"start": 1.0},
        {"start": 200.0},
        {"floor": 0.5},
        {"floor": 9.0},
        {"ceiling": math.inf},
        {"ceiling": math.nan},
        {"start": math.nan},
        {"target": 0.0},
        {"target": 1.0},
        {"slot_s": 0.0},
        {"slot_s": math.nan},
    ],
)
def test_contradictions_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        law(**bad)


def test_slots_of_a_pair_have_opposite_signs_and_replicas_agree() -> None:
    for index in range(0, 2000, 2):
        assert sign("db", 0.5, index) == -sign("db", 0.5, index + 1)
    order = [sign("db", 0.5, index) for index in range(0, 2000, 2)]
    assert order == [sign("db", 0.5, index) for index in range(0, 2000, 2)]
    assert 400 < order.count(1) < 600
    assert order != [sign("other", 0.5, index) for index in range(0, 2000, 2)]
    assert order != [sign("db", 0.25, index) for index in range(0, 2000, 2)]


def test_evidence_is_a_regression_that_forgets() -> None:
    evidence = Evidence(0.8)
    assert math.isnan(evidence.elasticity)
    for _ in range(30):
        evidence.add(0.1, 0.2, 1.0)
    assert evidence.elasticity == pytest.approx(0.5)
    for _ in range(6):
        evidence.add(0.4, 0.2, 1.0)
    assert evidence.elasticity > 1.5, "two surprises on one side make the past count less"


def test_a_tally_knows_what_binds_and_who_is_missing() -> None:
    tally = Tally(0.0, 1.0, 4.0)
    for index in range(40):
        end_s = (index + 1) / 40
        tally.finished(1.0, end_s - 0.1, end_s, 4, 4.0)
    assert tally.binding
    assert tally.rate == 40
    assert tally.busy == pytest.approx(4.0, rel=0.06)
    assert not tally.spoiled
    tally.finished(1.0, 0.5, 0.6, 1, 9.0)
    assert tally.spoiled


@pytest.mark.parametrize(
    ("start", "curve", "low", "high"),
    [
        (1.0, Curve.through([(1, 5830), (2, 6049), (4, 12637), (24, 24385), (96, 18552)]), 12, 64),
        (64.0, HOT_ROW, 4, 16),
        (8.0, Curve([10.0 * n for n in range(1, 200)]), 96, 96),
        (8.0, Curve([100.0] * 200), 1, 1),
    ],
)
def test_the_cold_start_doubles_over_a_flat_step_and_halves_from_a_plateau(
    start: float, curve: Curve, low: float, high: float
) -> None:
    ramp = Ramp(start, 1.0, 96.0, 0.85)
    for _ in range(20):
        if ramp.measured(curve(round(ramp.candidate))) is None:
            break
    assert low <= ramp.accepted <= high
