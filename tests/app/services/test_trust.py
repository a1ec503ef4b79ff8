"""A memory is asked first while it is rarely overtaken."""

from app.services.trust import MOST_OVERTAKEN, WINDOW, Trust


def test_a_single_other_answer_changes_nothing() -> None:
    trust = Trust()
    assert not trust.observe(False)
    assert trust.is_given
    assert not any(trust.observe(number % 20 != 0) for number in range(1, 400))


def test_every_other_turn_elsewhere_takes_it_away_once() -> None:
    trust = Trust()
    changes = [number for number in range(100) if trust.observe(number % 2 == 0)]
    assert len(changes) == 1
    assert changes[0] < 10
    assert not trust.is_given
    assert MOST_OVERTAKEN < trust.overtaken < 0.6


def test_it_comes_back_when_nobody_else_answers_any_more() -> None:
    trust = Trust()
    while trust.is_given:
        trust.observe(False)
    needed = 0
    while not trust.is_given:
        trust.observe(True)
        needed += 1
    assert 1 < needed <= 2 * WINDOW
    assert trust.overtaken <= MOST_OVERTAKEN / 2


def test_over_a_day_with_both_it_costs_less_than_asking_always_and_than_never() -> None:
    """In looks into Redis; to be wrong costs seven (trust.py). Half the day a user stays on one replica."""
    turns = [True] * 400 + [number % 2 == 0 for number in range(400)]
    trust, costs = Trust(), {"law": 0, "memory first": 0, "Redis first": 0}
    for is_current in turns:
        wrong = 0 if is_current else 7
        costs["memory first"] += wrong
        costs["Redis first"] += 1
        costs["law"] += wrong if trust.is_given else 1
        trust.observe(is_current)
    assert costs == {"law": 415, "memory first": 1400, "Redis first": 800}
