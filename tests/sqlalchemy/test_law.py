"""Which law a pool starts with."""

from fluido.laws.elasticity import Elasticity
from fluido.laws.fixed import Fixed
from fluido.sqlalchemy import AdaptivePool, Limits
from fluido.sqlalchemy.law import default_law

from .fake_driver import FakeDriver


def law_of(limits: Limits) -> Elasticity:
    law = default_law(limits, server="host:5432/db", clock=lambda: 100.0, wall=lambda: 1100.0)
    assert isinstance(law, Elasticity)
    return law


def test_between_the_bounds_it_is_elasticity() -> None:
    law = law_of(Limits(min=3, max=40))
    assert (law.floor, law.ceiling, law.value) == (3.0, 40.0, 15.0)


def test_starts_where_it_is_told_or_inside_the_bounds() -> None:
    assert law_of(Limits(min=1, max=40, start=20.0)).value == 20.0
    assert law_of(Limits(min=1, max=4)).value == 4.0
    assert law_of(Limits(min=22, max=40)).value == 22.0
    assert law_of(Limits()).value == 15.0, "what SQLAlchemy's own pool opens"


def test_alone_it_keeps_two_and_in_a_fleet_one() -> None:
    assert law_of(Limits(min=1, max=40)).floor == 2.0
    assert law_of(Limits(min=1, max=40, replicas=4)).floor == 1.0
    assert law_of(Limits(min=0, max=1)).floor == 1.0


def test_who_shares_the_server_is_less_greedy() -> None:
    assert law_of(Limits(max=40)).target > law_of(Limits(max=40, shared=True)).target


def test_equal_bounds_and_the_stock_arguments_are_fixed() -> None:
    assert isinstance(default_law(Limits(min=9, max=9), server="", clock=lambda: 0.0), Fixed)
    assert isinstance(AdaptivePool(FakeDriver(), pool_size=5, max_overflow=2).law, Fixed)
    assert isinstance(AdaptivePool(FakeDriver(), limit=Limits(max=9)).law, Elasticity)
