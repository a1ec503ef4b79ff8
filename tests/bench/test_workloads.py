"""Workloads: what returns, what is new, what repeats; the same for every arm."""

import random
from collections import Counter

import pytest

from bench.traces import load_trace
from bench.workloads import (
    Lengths,
    NewConversations,
    ReturningUsers,
    SingleQuestions,
    Workload,
    compose,
    questions,
    zipf,
)

LENGTHS = Lengths(load_trace())
ALL: list[Workload] = [ReturningUsers(LENGTHS), NewConversations(LENGTHS), SingleQuestions(LENGTHS)]


@pytest.mark.parametrize("workload", ALL, ids=lambda w: w.name)
def test_a_seed_decides_everything(workload: Workload) -> None:
    made = [workload.sessions(30, seed=5, namespace="a") for _ in range(2)]
    assert made[0] == made[1]
    assert made[0] != workload.sessions(30, seed=6, namespace="a")
    assert len(made[0]) == 30


def test_returning_users_come_back_in_rounds() -> None:
    visits = ReturningUsers(LENGTHS, users=4).sessions(10, seed=1, namespace="r")
    people = [visit.questions[0].conversation for visit in visits]
    assert len(set(people[:4])) == len(set(people[4:8])) == 4
    assert set(people) == {f"r-user-{n}" for n in range(4)}


def test_new_conversations_are_new_and_have_time_to_think() -> None:
    sessions = NewConversations(LENGTHS, turns=6, think_mean_s=2.0).sessions(200, seed=1, namespace="n")
    assert len({session.questions[0].conversation for session in sessions}) == 200
    assert questions(sessions) == 1200
    thoughts = [thought for session in sessions for thought in session.think_s]
    assert len(thoughts) == 1000
    assert sum(thoughts) / len(thoughts) == pytest.approx(2.0, rel=0.1)
    assert [question.turn for question in sessions[0].questions] == list(range(6))


def test_single_questions_repeat_as_zipf_says() -> None:
    sessions = SingleQuestions(LENGTHS, catalogue=50).sessions(4000, seed=1, namespace="s")
    assert len({session.questions[0].user_id for session in sessions}) == 4000
    counts = Counter(session.questions[0].text for session in sessions).most_common()
    assert counts[0][1] / counts[1][1] == pytest.approx(2.0, rel=0.25)
    assert len(zipf(10, 1, exponent=1.0, source=random.Random(1))) == 10


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
