"""Numbers in, numbers out: where the ladder begins, what it compares, when it moves and when it does not."""

import math
import random

import pytest

from fluido import Outcome, Sample
from fluido.laws._base import Law
from fluido.laws._fleet import Fleet
from fluido.laws._ladder import Ladder
from fluido.laws._rounds import FEWEST, Slot, WorkMeter, drawn
from fluido.laws._rungs import Memory, rungs
from fluido.testing.curve import Curve

HOT_ROW = Curve.through([(1, 453), (2, 555), (4, 759), (6, 907), (8, 972), (15, 842), (24, 709), (96, 303)])
IDLE = Curve([50.0 * n for n in range(1, 200)])


def law(**more: object) -> Ladder:
    return Ladder(**({"start": 15.0, "floor": 1.0, "ceiling": 96.0} | more))  # type: ignore[arg-type]


def saturate(tested: Law, curve: Curve, start_s: float, duration_s: float) -> float:
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


def test_the_users_constant_is_a_rung_and_so_are_the_bounds() -> None:
    assert rungs(15, 1, 96) == [1, 2, 3, 4, 6, 8, 11, 15, 21, 29, 41, 57, 80, 96]
    assert rungs(5, 5, 5) == [5]
    for reference, floor, ceiling in ((7, 1, 8), (1, 1, 200), (50, 3, 50), (24, 2, 25)):
        ladder = rungs(reference, floor, ceiling)
        assert ladder == sorted(set(ladder))
        assert {reference, floor, ceiling} <= set(ladder)


@pytest.mark.parametrize("start", [2.0, 15.0, 64.0])
def test_the_best_rung_is_found_from_any_constant(start: float) -> None:
    tested = law(start=start)
    assert tested.value == start
    saturate(tested, HOT_ROW, 0.0, 20.0)
    assert HOT_ROW(tested.limit) >= 0.95 * 972


def test_idle_capacity_is_leapt_into() -> None:
    tested = law()
    end_s = saturate(tested, IDLE, 0.0, 2.0)
    assert tested.limit == 96
    seen = []
    for _ in range(400):
        end_s = saturate(tested, IDLE, end_s, 0.05)
        seen.append(tested.value)
    assert seen.count(96.0) > 0.9 * len(seen), "a rung that is surely worse is asked seldom"


def test_a_plateau_ends_low() -> None:
    tested = law(start=64.0)
    saturate(tested, Curve([3000.0] + [6000.0] * 200), 0.0, 25.0)
    assert tested.limit <= 8


def test_a_limit_that_does_not_bind_is_left_alone() -> None:
    tested = law(start=20.0)
    for index in range(20_000):
        now_s = index * 0.001
        decision = tested.observe(Sample("get", now_s - 0.005, now_s, 0.0, 5, tested.value))
        assert decision.value == 20.0


def test_a_limit_that_is_not_in_force_teaches_nothing() -> None:
    tested = law()
    for index in range(20_000):
        now_s = index * 0.001
        tested.observe(Sample("get", now_s - 0.005, now_s, 1.0, 5, 5.0))
    assert tested.limit == 15


def test_failed_calls_are_not_throughput() -> None:
    tested = law()
    for index in range(20_000):
        now_s = index * 0.001
        tested.observe(Sample("get", now_s - 0.005, now_s, 1.0, 15, tested.value, Outcome.OVERLOAD))
    assert tested.limit == 15


def test_another_server_is_noticed_by_the_leaders_own_rate() -> None:
    tested = law()
    end_s = saturate(tested, IDLE, 0.0, 5.0)
    assert tested.limit == 96
    reasons = set()
    for _ in range(200):
        end_s = saturate(tested, HOT_ROW, end_s, 0.1)
        reasons.add(tested.tick(end_s).reason)
    assert {"shift", "leap"} & reasons
    assert HOT_ROW(tested.limit) >= 0.9 * 972


def test_the_reference_is_asked_and_gone_back_to() -> None:
    """A second maximum: from the far side, only the comparison with the constant shows that it is better."""
    points = [(1, 300), (8, 1000), (15, 1200), (21, 700), (29, 500), (41, 800), (57, 900), (96, 700)]
    twin = Curve.through(points)
    tested = law(remembered=Memory(57.0, 15.0))
    reasons = []
    end_s = 0.0
    for _ in range(200):
        end_s = saturate(tested, twin, end_s, 0.1)
        reasons.append(tested.tick(end_s).reason)
    assert tested.limit in {11, 15}


def test_what_was_learned_is_offered_to_the_next_start_and_checked() -> None:
    first = law()
    saturate(first, IDLE, 0.0, 5.0)
    memory = first.memory()
    assert memory == Memory(96.0, 15.0)
    again = law(remembered=memory)
    assert again.value == 15, "a start is where the user was"
    saturate(again, IDLE, 100.0, 1.0)
    assert again.limit == 96
    elsewhere = law(remembered=memory)
    saturate(elsewhere, HOT_ROW, 100.0, 10.0)
    assert HOT_ROW(elsewhere.limit) >= 0.9 * 972


def test_ten_idle_minutes_bring_the_reference_back() -> None:
    tested = law()
    saturate(tested, IDLE, 0.0, 5.0)
    for index in range(13_000):
        now_s = 6.0 + index * 0.05
        tested.observe(Sample("get", now_s - 0.005, now_s, 0.0, 3, tested.value))
    assert tested.limit == 15


def test_a_decision_says_what_was_compared() -> None:
    tested = law()
    saturate(tested, HOT_ROW, 0.0, 10.0)
    seen = tested.tick(20.0)
    assert {"limit", "reference"} <= set(seen.inputs)
    assert seen.inputs["reference"] == 15
    assert "the reference is 15" in tested.words
    assert "than" in tested.words
    assert "Too few had to wait" not in tested.words
    assert "far apart" in law().words


def test_long_calls_do_not_make_more_in_flight_look_worth_it() -> None:
    """Long calls hold 20 places in both slots: the step of the limit falls on the short ones alone."""
    meter = WorkMeter(0.0)
    low, high = Slot(30.0, 0.0, 1.0, 0.0), Slot(40.0, 1.0, 2.0, 0.0)
    for slot, shorts, inside, took_s in ((low, 330, 30, 0.030), (high, 500, 40, 0.040)):
        meter.slot = slot
        for index in range(shorts):
            now_s = slot.from_s + (index + 1) / (shorts + 1)
            meter.take(Sample("short", now_s - took_s, now_s, 1.0, inside, slot.limit))
        for index in range(20):
            now_s = slot.from_s + (index + 1) / 21
            meter.take(Sample("long", now_s - 5.0, now_s, 1.0, inside, slot.limit))
        meter.close()
    assert high.call_rate / low.call_rate > 1.3
    assert abs(meter.gain(high, low)[0]) < 0.01


def test_a_slot_knows_what_binds_and_whose_limit_it_had() -> None:
    slot = Slot(4.0, 0.0, 1.0, 0.0)
    for index in range(4 * FEWEST):
        end_s = (index + 1) / (4 * FEWEST + 1)
        slot.ended(Sample("", end_s - 0.01, end_s, 0.0, 4, 4.0), 0.0)
    assert slot.sound
    assert slot.binding
    assert slot.call_rate == 40
    for _ in range(2 * FEWEST):
        slot.ended(Sample("", 0.5, 0.6, 0.0, 1, 9.0), 0.0)
    assert not slot.sound
    assert not slot.binding


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


@pytest.mark.parametrize("make", [Ladder, Fleet])
def test_nonsense_never_raises_and_never_leaves_the_bounds(make: type) -> None:
    tested = make(start=8.0, floor=2.0, ceiling=100.0)
    for seed in range(5000):
        assert 2.0 <= tested.observe(nonsense(seed)).value <= 100.0
        assert 2.0 <= tested.tick(nonsense(seed).finished_s).value <= 100.0
    saturate(tested, HOT_ROW, 1e6, 20.0)
    assert 2.0 <= tested.value <= 100.0


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0, -0.3])
def test_a_clock_that_jumps_costs_a_pair_and_no_more(jump_s: float) -> None:
    tested = law()
    end_s = saturate(tested, HOT_ROW, 1e5, 10.0)
    before = tested.limit
    saturate(tested, HOT_ROW, end_s + jump_s, 10.0)
    assert tested.limit == pytest.approx(before, rel=0.5)


@pytest.mark.parametrize("make", [Ladder, Fleet])
@pytest.mark.parametrize(
    "bad",
    [
        {"start": 1.0},
        {"start": 200.0},
        {"floor": 0.5},
        {"floor": 19.0},
        {"ceiling": math.inf},
        {"ceiling": math.nan},
        {"start": math.nan},
        {"worth": 0.0},
        {"worth": 1.0},
    ],
)
def test_contradictions_are_refused(make: type, bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        make(**({"start": 15.0, "floor": 2.0, "ceiling": 96.0} | bad))


def test_replicas_draw_the_same_order_and_probe_both_ways() -> None:
    orders = [[drawn("db/0.5", pair) & 1 for pair in range(1000)] for _ in range(2)]
    assert orders[0] == orders[1]
    assert 400 < sum(orders[0]) < 600
    assert orders[0] != [drawn("other/0.5", pair) & 1 for pair in range(1000)]


def test_replicas_step_together() -> None:
    """The limits of two replicas on one clock, at any moment, lie on the same side of their centres."""
    pair = [Fleet(start=start, floor=1.0, ceiling=60.0, key="db") for start in (8.0, 20.0)]
    sides: list[tuple[bool, bool]] = []
    for index in range(20_000):
        now_s = index * 0.002
        for one in pair:
            one.observe(Sample("", now_s - 0.02, now_s, 1.0, math.ceil(one.value), one.value))
        if all(one.value != one.limit for one in pair):
            sides.append((pair[0].value > pair[0].limit, pair[1].value > pair[1].limit))
    assert len(sides) > 1000
    assert all(first == second for first, second in sides)
    assert {first for first, _ in sides} == {True, False}


def test_other_work_begins_at_the_reference_and_what_was_known_of_it_is_tried() -> None:
    tested = law()
    end_s = saturate(tested, IDLE, 0.0, 5.0)
    assert tested.limit == 96
    now_s, reasons = end_s, []
    while now_s < end_s + 3.0:
        limit = tested.value
        now_s += 0.001  # a thousand updates a second, whatever the limit is
        sample = Sample("update", now_s - limit / 1000, now_s, 1.0, math.floor(limit), limit)
        reasons.append((tested.observe(sample).reason, tested.limit))
    assert ("other_work", 15) in reasons
    again = [tested.limit]
    for _ in range(60):
        now_s = saturate(tested, IDLE, now_s, 0.1)
        again.append(tested.limit)
    assert again[-1] == 96
