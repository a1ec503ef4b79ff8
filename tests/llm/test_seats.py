"""Who is in flight, and beside how many on average."""

import asyncio

import pytest

from fluido.llm.admission._residency import Placement
from fluido.llm.admission._seats import Demand, Seat, Seats
from fluido.testing.virtual_loop import VirtualLoop


def _seat(at_s: float) -> Seat:
    return Seat(Demand(1.0), Placement(0, 0), 0.0, at_s, 1, 1.0)


def test_a_call_knows_how_many_ran_beside_it_on_average() -> None:
    now = [0.0]
    seats = Seats(lambda: now[0], lambda: None)
    long, short = _seat(0.0), _seat(6.0)
    seats.take(long)
    now[0] = 6.0
    seats.take(short)
    assert long.shared
    assert short.shared
    assert seats.leave(short, 8.0) == pytest.approx(2.0)
    assert seats.leave(long, 10.0) == pytest.approx(1.2)
    assert not seats
    assert seats.inflight == 0


def test_a_call_that_took_no_time_had_no_company() -> None:
    seats = Seats(lambda: 0.0, lambda: None)
    seat = _seat(0.0)
    seats.take(seat)
    assert seats.leave(seat, 0.0) == 0.0


def test_a_ghost_keeps_its_place_and_counts_as_company() -> None:
    async def scene() -> None:
        clock = asyncio.get_running_loop().time
        laid: list[float] = []
        seats = Seats(clock, lambda: laid.append(clock()))
        began_s = clock()
        seats.haunt(3, 2.0)
        seats.haunt(2, 0.0)
        seat = _seat(began_s)
        seats.take(seat)
        assert seats.inflight == 2
        assert seats.slots == {0, 3}
        await asyncio.sleep(4.0)
        assert seats.leave(seat, clock()) == pytest.approx(1.5)
        assert laid == [pytest.approx(began_s + 2.0)]

    VirtualLoop().run(scene())
