"""Which law a pool starts with."""

import math

import pytest

from fluido.laws._fixed import Fixed
from fluido.laws._fleet import Fleet
from fluido.laws._ladder import Ladder
from fluido.sqlalchemy import AdaptivePool, Limits
from fluido.sqlalchemy._limits import default_law

from .fake_driver import FakeDriver


def law_of(limits: Limits) -> Ladder | Fleet:
    law = default_law(limits, server="host:5432/db", clock=lambda: 100.0, wall=lambda: 1100.0)
    assert isinstance(law, Ladder | Fleet)
    return law


def test_between_the_bounds_it_is_the_ladder() -> None:
    law = law_of(Limits(min=3, max=40))
    assert isinstance(law, Ladder)
    assert (law.floor, law.ceiling, law.value, law.reference) == (3.0, 40.0, 15.0, 15)


def test_starts_where_it_is_told_or_inside_the_bounds() -> None:
    assert law_of(Limits(min=1, max=40, start=20.0)).value == 20.0
    assert law_of(Limits(min=1, max=4)).value == 4.0
    assert law_of(Limits(min=22, max=40)).value == 22.0
    assert law_of(Limits()).value == 15.0, "what SQLAlchemy's own pool opens"


def test_one_of_several_replicas_steps_with_the_others() -> None:
    law = law_of(Limits(min=1, max=40, replicas=4))
    assert isinstance(law, Fleet)
    assert (law.value, law.reference) == (15.0, 15.0)


def test_what_was_learned_is_tried_and_a_limit_that_is_none_is_refused() -> None:
    law = law_of(Limits(max=40, remembered=29))
    assert law.value == 15.0, "a start is where the user was"
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="remembered"):
            Limits(remembered=wrong)


def test_who_shares_the_server_is_less_greedy() -> None:
    for replicas in (1, 4):
        alone, shared = (law_of(Limits(max=40, replicas=replicas, shared=shared)) for shared in (False, True))
        assert alone.worth < shared.worth


def test_equal_bounds_and_the_stock_arguments_are_fixed() -> None:
    assert isinstance(default_law(Limits(min=9, max=9), server="", clock=lambda: 0.0), Fixed)
    assert isinstance(AdaptivePool(FakeDriver(), pool_size=5, max_overflow=2).law, Fixed)
    assert isinstance(AdaptivePool(FakeDriver(), limit=Limits(max=9)).law, Ladder)
