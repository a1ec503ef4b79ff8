"""Sums of what replicas tell each other; a note that is no number hurts nobody."""

import math

import pytest

from fluido.laws.board import Note, told
from fluido.laws.elasticity import Elasticity


def test_the_sums_are_those_of_one_regression_over_everything() -> None:
    sums = told([Note(4.0, 0.2, 0.4, 0.01), Note(12.0, 0.6, 0.4, 0.03)])
    assert sums is not None
    assert (sums.members, sums.limit) == (2, 8.0)
    assert sums.elasticity == pytest.approx(1.0)
    assert sums.error == pytest.approx(0.2 / 0.8)


def test_more_members_make_the_answer_surer() -> None:
    note = Note(8.0, 0.3, 0.4, 0.01)
    one, many = told([note]), told([note] * 16)
    assert one is not None
    assert many is not None
    assert many.elasticity == pytest.approx(one.elasticity)
    assert many.error == pytest.approx(one.error / 4)


@pytest.mark.parametrize(
    "note",
    [
        Note(math.nan, 0, 0, 0),
        Note(0.0, 0, 0, 0),
        Note(8.0, math.inf, 0, 0),
        Note(8.0, 0, -1.0, 0),
        Note(8.0, 0, 0, -1.0),
    ],
)
def test_a_note_that_cannot_be_is_left_out(note: Note) -> None:
    assert told([note]) is None
    good = Note(4.0, 0.2, 0.4, 0.01)
    assert told([note, good]) == told([good])


def test_nobody_has_seen_anything_yet() -> None:
    law = Elasticity(start=4, ceiling=60, fleet=True)
    sums = told([law.note])
    assert sums is not None
    assert math.isnan(sums.elasticity)
    assert sums.error == math.inf
