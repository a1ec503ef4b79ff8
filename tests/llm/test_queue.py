import pytest

from fluido.errors import FluidoError, LimitReached
from fluido.llm._call import Lane
from fluido.llm.admission._queue import CallQueue, Ticket
from fluido.llm.admission._seats import Demand


def ticket(
    cost_s: float = 1.0, lane: Lane = Lane.INTERACTIVE, key: str = "", *, had_place: bool = False
) -> Ticket:
    return Ticket(Demand(cost_s, lane=lane, key=key), had_place)


def order(queue: CallQueue) -> list[Ticket]:
    return queue.drain()


def test_equal_calls_are_served_as_they_came() -> None:
    queue = CallQueue(max_waiting=10)
    tickets = [ticket() for _ in range(5)]
    for now, each in enumerate(tickets):
        queue.push(each, now * 0.01)
    assert order(queue) == tickets


def test_a_cheap_call_overtakes_a_dear_one_but_only_for_a_while() -> None:
    queue = CallQueue(max_waiting=10, ageing=1.0, ageing_bound_s=10.0)
    dear, cheap, late = ticket(100.0), ticket(0.1), ticket(0.1)
    queue.push(dear, 0.0)
    queue.push(cheap, 9.0)
    queue.push(late, 10.0)
    assert order(queue) == [cheap, dear, late]


def test_nobody_starves_under_a_steady_stream_of_cheap_calls() -> None:
    queue = CallQueue(max_waiting=1000)
    dear = ticket(1000.0)
    queue.push(dear, 0.0)
    served_at = None
    for step in range(400):
        queue.push(ticket(0.05), step * 0.05)
        if queue.pop() is dear:
            served_at = step * 0.05
            break
    assert served_at is not None
    assert served_at <= 10.1


def test_who_sends_a_hundred_does_not_stand_before_the_others() -> None:
    queue = CallQueue(max_waiting=1000)
    greedy = [ticket(1.0, key="greedy") for _ in range(100)]
    for each in greedy:
        queue.push(each, 0.0)
    modest = ticket(1.0, key="modest")
    queue.push(modest, 0.5)
    assert order(queue).index(modest) <= 1


def test_lanes_share_by_weight_and_each_is_served() -> None:
    queue = CallQueue(max_waiting=1000)
    for _ in range(100):
        for lane in Lane:
            queue.push(ticket(1.0, lane), 0.0)
    served = [queue.pop().demand.lane for _ in range(63)]
    assert [served.count(lane) for lane in Lane] == pytest.approx([48, 12, 3], abs=2)


def test_a_lane_that_comes_back_does_not_claim_what_it_left() -> None:
    queue = CallQueue(max_waiting=1000)
    for _ in range(200):
        queue.push(ticket(1.0, Lane.NORMAL), 0.0)
    for _ in range(100):
        queue.pop()
    for _ in range(50):
        queue.push(ticket(1.0, Lane.BACKGROUND), 0.0)
    served = [queue.pop().demand.lane for _ in range(10)]
    assert served.count(Lane.BACKGROUND) <= 3


def test_full_refuses_an_equal_and_sheds_a_lower_one() -> None:
    thrown: list[FluidoError] = []
    queue = CallQueue(max_waiting=2, on_shed=lambda _, error: thrown.append(error))
    queue.push(ticket(), 0.0)
    low = ticket(lane=Lane.BACKGROUND)
    queue.push(low, 0.0)
    with pytest.raises(LimitReached):
        queue.push(ticket(lane=Lane.BACKGROUND), 0.0)
    queue.push(ticket(), 0.0)
    assert [type(error) for error in thrown] == [LimitReached]
    assert not low.queued
    assert len(queue) == 2
    with pytest.raises(LimitReached):
        queue.push(ticket(), 0.0)


def test_discard_is_cheap_and_leaves_no_litter() -> None:
    queue = CallQueue(max_waiting=10_000)
    tickets = [ticket() for _ in range(10_000)]
    for each in tickets:
        queue.push(each, 0.0)
    for each in tickets[:-1]:
        assert queue.discard(each)
    assert not queue.discard(tickets[0])
    assert len(queue) == 1
    assert queue.cost_s == pytest.approx(1.0)
    assert sum(len(t.heap) for line in queue._lines.values() for t in line.tenants.values()) < 20
    assert order(queue) == [tickets[-1]]
    assert queue.cost_s == 0.0


def test_ahead_counts_what_would_be_served_before() -> None:
    queue = CallQueue(max_waiting=10)
    queue.push(ticket(2.0), 0.0)
    queue.push(ticket(3.0), 0.0)
    queue.push(ticket(50.0, Lane.BACKGROUND), 0.0)
    assert queue.ahead(Demand(0.1, lane=Lane.INTERACTIVE), 0.0) == (0, 0.0)
    assert queue.ahead(Demand(2.5, lane=Lane.INTERACTIVE), 0.0) == (1, 2.0)
    assert queue.ahead(Demand(5.0, lane=Lane.BACKGROUND), 0.0) == (2, 5.0)


def test_a_tenant_with_many_names_takes_one_share() -> None:
    queue = CallQueue(max_waiting=1000)
    crowd = [Ticket(Demand(1.0, key=f"name{n}", tenant="many")) for n in range(40)]
    for each in crowd:
        queue.push(each, 0.0)
    quiet = [Ticket(Demand(1.0, key="ana", tenant="one")) for _ in range(3)]
    for each in quiet:
        queue.push(each, 0.5)
    served = order(queue)
    assert [served.index(each) for each in quiet] == pytest.approx([1, 3, 5], abs=1)
    # inside a tenant its users still share
    assert [each for each in served if each.demand.tenant == "many"] == crowd


def test_a_tenant_with_three_times_the_weight_is_served_three_times_as_often() -> None:
    queue = CallQueue(max_waiting=100)
    for _ in range(12):
        for tenant, weight in (("heavy", 3.0), ("light", 1.0)):
            queue.push(Ticket(Demand(1.0, tenant=tenant, weight=weight)), 0.0)
    served = order(queue)
    assert sum(each.demand.tenant == "heavy" for each in served[:12]) == 9
    heavy = Demand(1.0, tenant="new", weight=3.0)
    for _ in range(6):
        queue.push(Ticket(Demand(1.0, tenant="light")), 1.0)
    # a third of a share of the others stands before one of three times their weight
    assert queue.ahead(heavy, 1.0)[1] < queue.ahead(Demand(1.0, tenant="new"), 1.0)[1]


def test_a_reserved_place_counts_until_it_is_given_back() -> None:
    queue = CallQueue(max_waiting=2)
    places = [queue.reserve(1.0), queue.reserve(1.0)]
    assert not queue.takes(Lane.INTERACTIVE)
    assert queue.ahead(Demand(1.0, lane=Lane.INTERACTIVE), 0.0) == (2, 2.0)
    places[0].release()
    places[0].release()
    assert queue.takes(Lane.INTERACTIVE)
    queue.push(ticket(had_place=True), 0.0)
    with pytest.raises(LimitReached):
        queue.push(ticket(), 0.0)
    places[1].release()
    assert (queue.reserved, queue.reserved_cost_s) == (0, 0.0)
