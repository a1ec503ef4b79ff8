"""Limits are checked once, where they are written."""

from typing import Any

import pytest

from fluido.sqlalchemy import Limits


@pytest.mark.parametrize(
    ("bounds", "sentence"),
    [
        ({"min": 5, "max": 4}, "min=5 is above max=4"),
        ({"min": -1}, "min >= 0"),
        ({"max": 0, "min": 0}, "max >= 1"),
        ({"start": 60.0}, "start=60.0 lies outside"),
        ({"start": 1.0, "min": 2}, "start=1.0 lies outside"),
        ({"max_waiting": -1}, "max_waiting=-1"),
        ({"replicas": 0}, "replicas=0"),
        ({"open_every_s": -0.1}, "open_every_s"),
        ({"idle_s": float("nan")}, "idle_s"),
        ({"lifetime_s": float("inf")}, "lifetime_s"),
    ],
)
def test_contradictions_are_refused_in_words(bounds: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Limits(**bounds)


def test_equal_bounds_leave_nothing_to_decide() -> None:
    assert Limits(min=20, max=20).pinned
    assert not Limits(min=2, max=20).pinned
