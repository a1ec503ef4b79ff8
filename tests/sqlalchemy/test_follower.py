"""Connections follow the limit slowly up, and more slowly down."""

import math

from fluido.sqlalchemy._follower import Follower


def follower(*, kept: int = 2, lifetime_s: float | None = None) -> Follower:
    return Follower(kept=kept, open_every_s=0.03, idle_s=60.0, lifetime_s=lifetime_s)


def test_grows_by_one_and_then_makes_the_next_wait() -> None:
    subject = follower()
    assert subject.grow(10.0, 0.0) == 0.0
    assert subject.allowed == 3
    assert math.isclose(subject.grow(10.0, 0.01), 0.02)
    assert subject.allowed == 3
    assert subject.grow(10.0, 0.031) == 0.0


def test_never_grows_above_the_limit() -> None:
    subject = follower()
    assert math.isinf(subject.grow(2.0, 0.0))
    assert subject.grow(2.1, 0.0) == 0.0  # the fraction of a permit needs a whole connection
    assert math.isinf(subject.grow(2.1, 9.0))


def test_surplus_is_what_the_peak_of_the_window_did_not_need() -> None:
    subject = follower()
    subject.demand(10, 0.0)
    assert subject.surplus(20, 1, 20.0) == 8  # 20 open, 1.2 x 10 needed
    assert subject.surplus(20, 1, 45.0) == 8  # the earlier half of the window remembers
    assert subject.surplus(20, 1, 130.0) == 18  # forgotten: only what is kept stays
    assert subject.surplus(2, 0, 300.0) == 0


def test_shrinks_down_to_what_is_kept() -> None:
    subject = follower()
    subject.grow(10.0, 0.0)
    for _ in range(5):
        subject.shrink()
    assert subject.allowed == 2


def test_lifetimes_differ_by_up_to_five_percent() -> None:
    subject = follower(lifetime_s=100.0)
    lifetimes = [subject.next_lifetime_s() for _ in range(50)]
    assert min(lifetimes) >= 95.0
    assert max(lifetimes) <= 100.0
    assert len({round(lifetime, 1) for lifetime in lifetimes}) > 30
    assert math.isinf(follower().next_lifetime_s())
