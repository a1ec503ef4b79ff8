"""People: the same for every arm, other texts in every population, as many questions as was meant."""

import itertools
import random
from collections import Counter

import pytest

from bench.traces import load_trace
from bench.workloads import HISTORY, Gaps, Lengths, Pauses, Population, compose

TRACE = load_trace()
LENGTHS, GAPS = Lengths(TRACE), Gaps(TRACE)


def people(count: int, name: str = "p1", pauses: Pauses | None = None) -> Population:
    return Population(name, count, LENGTHS, GAPS, pauses or Pauses())


def test_a_person_is_the_same_in_every_arm_and_in_every_number_of_people() -> None:
    few, many = people(3), people(9)
    assert many.histories().items() >= few.histories().items()
    for one, two in zip(few.scripts(), many.scripts(), strict=False):
        assert (one.user, one.first_s) == (two.user, two.first_s)
        assert list(itertools.islice(one.steps, 20)) == list(itertools.islice(two.steps, 20))


def test_every_population_has_said_other_things_before() -> None:
    """A prompt cache that still knows one round's texts must not find them in the next."""
    first, second = people(50, "p1").histories(), people(50, "p2").histories()
    texts = [{text for told in found.values() for pair in told for text in pair} for found in (first, second)]
    assert not texts[0] & texts[1]
    assert {len(exchanges) for exchanges in first.values()} == set(range(HISTORY[0], HISTORY[1] + 1))


@pytest.mark.parametrize("pauses", [Pauses(), Pauses(4.0, 300.0), Pauses(2.0, 2.0)])
def test_people_ask_as_often_as_the_cycle_says_from_the_first_second_on(pauses: Pauses) -> None:
    """The load must not begin with everybody at once, nor with nobody."""
    crowd = people(2000, pauses=pauses)
    wanted_s = 40.0
    asked = Counter[int]()
    for script in crowd.scripts():
        due_s = script.first_s
        for step in script.steps:
            if due_s >= wanted_s:
                break
            asked[int(due_s // (wanted_s / 2))] += 1
            due_s += step.pause_s
    each = 2000 / pauses.cycle_s * wanted_s / 2
    assert asked[0] == pytest.approx(each, rel=0.12)
    assert asked[1] == pytest.approx(each, rel=0.12)


def test_who_is_in_the_middle_of_a_visit_has_asked_before_and_nobody_else() -> None:
    crowd = people(1000)
    before = crowd.before()
    pauses, questions = crowd.pauses, 3
    reads_s = pauses.read_s * (questions - 1)
    assert len(before) / 1000 == pytest.approx(reads_s / (reads_s + pauses.away_s), rel=0.35)
    assert {question.turn for question in before} == {-1}
    assert {question.user_id for question in before} <= set(crowd.users())
    assert before == people(1000).before()


def test_the_sequence_asks_everybody_in_the_order_of_their_own_questions() -> None:
    crowd = people(20)
    asked = list(itertools.islice(crowd.sequence(), 400))
    by_person: dict[str, list[int]] = {}
    for question in asked:
        by_person.setdefault(question.user_id, []).append(question.turn)
    assert len(by_person) == 20
    assert all(turns == sorted(turns) for turns in by_person.values())


def test_pauses_have_the_gaps_of_the_trace_and_the_mean_that_is_asked() -> None:
    source = random.Random(1)
    drawn = [GAPS.draw(4.0, source) for _ in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(4.0, rel=0.03)
    assert min(drawn) < 0.5
    assert max(drawn) < 40.0


def test_lengths_follow_the_trace_inside_their_bounds() -> None:
    source = random.Random(1)
    drawn = [LENGTHS.draw(source) for _ in range(5000)]
    assert {8 <= q <= 96 and 8 <= o <= 48 for q, o in drawn} == {True}
    middle = sorted(output for _, output in drawn)[2500]
    assert middle == pytest.approx(129 * LENGTHS.scale, abs=2)


def test_texts_have_the_length_asked_for_and_differ() -> None:
    texts = [compose(40, random.Random(seed)) for seed in range(300)]
    assert len(set(texts)) >= 299
    assert all(32 <= len(text.split()) <= 36 for text in texts)
