"""The checker finds what it is there to find: each fault is planted once."""

from dataclasses import replace

from bench.faults.ledger import Acknowledged, Row, judge

TOLD = [
    Acknowledged("c1", "q1", "a1"),
    Acknowledged("c2", "q2", "a2"),
    Acknowledged("c1", "q3", "a3"),
]
ASKED = ["q1", "q2", "q3", "never answered"]
ROWS = [
    Row("c1", "user", "q1", 1),
    Row("c1", "assistant", "a1", 2, 1),
    Row("c2", "user", "q2", 3),
    Row("c2", "assistant", "a2", 5, 3),
    Row("c1", "user", "q3", 4, 2),
    Row("c1", "assistant", "a3", 6, 4),
]


def test_a_kept_promise_holds() -> None:
    assert judge(TOLD, ASKED, ROWS).holds


def test_a_stored_question_that_nobody_acknowledged_is_no_fault() -> None:
    assert judge(TOLD, ASKED, [*ROWS, Row("c9", "user", "never answered", 9)]).holds


def test_a_lost_question_and_a_lost_answer_are_found() -> None:
    assert judge(TOLD, ASKED, ROWS[:4]).lost == ("q3 in c1",)
    assert judge(TOLD, ASKED, ROWS[:5]).lost == ("the answer to q3 in c1",)


def test_a_doubled_question_is_found_also_when_it_was_not_acknowledged() -> None:
    twice = [*ROWS, Row("c1", "user", "q3", 7, 6), Row("c1", "assistant", "a3", 8, 7)]
    assert "q3 is there 2 times" in judge(TOLD, ASKED, twice).doubled
    again = [Row("c8", "user", "never answered", 11), Row("c9", "user", "never answered", 12)]
    assert judge(TOLD, ASKED, [*ROWS, *again]).doubled == ("never answered is there 2 times",)


def test_a_second_answer_is_found() -> None:
    assert judge(TOLD, ASKED, [*ROWS, Row("c1", "assistant", "b3", 7, 6)]).doubled == (
        "q3 has several answers",
    )


def test_swapped_questions_are_found() -> None:
    swapped = [ROWS[4], ROWS[5], ROWS[0], ROWS[1], ROWS[2], ROWS[3]]
    plain = [replace(row, id=0) for row in swapped]
    assert judge(TOLD, ASKED, plain).disordered == (
        "c1 has its questions in another order than they were answered",
    )


def test_a_broken_chain_is_found() -> None:
    forked = [*ROWS[:4], replace(ROWS[4], previous_id=1), ROWS[5]]
    assert judge(TOLD, ASKED, forked).disordered == ("message 4 of c1 follows 1, not 2",)


def test_answers_that_changed_places_are_found() -> None:
    crossed = [replace(row, content={"a1": "a2", "a2": "a1"}.get(row.content, row.content)) for row in ROWS]
    assert len(judge(TOLD, ASKED, crossed).misplaced) == 2
    moved = [replace(row, conversation="c2") if row.content in {"q3", "a3"} else row for row in ROWS]
    assert judge(TOLD, ASKED, [replace(row, id=0) for row in moved]).misplaced == ("q3 in c1",)
