"""A block of chat, its rate, and the capacity it is a share of; in virtual time."""

import asyncio
from typing import Any

import pytest

from bench.experiments import (
    POPULATION,
    ChatArm,
    Offer,
    capacity_per_s,
    histories,
    rate_after,
    standard_workloads,
    warming,
)
from bench.load import Load, Reply
from bench.traces import load_trace
from bench.workloads import NewConversations, Question, ReturningUsers

TRACE = load_trace()
WORKLOADS = standard_workloads(TRACE)


def recorder(seen: list[Question]) -> Any:
    async def send(question: Question) -> Reply:
        seen.append(question)
        await asyncio.sleep(0.01)
        return Reply()

    return send


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_two_arms_get_the_same_requests_at_about_the_offered_rate(name: str, virtual: Any) -> None:
    asked: list[list[Question]] = [[], []]

    async def main(loop: Any) -> None:
        for seen in asked:
            arm = ChatArm("x", recorder(seen), WORKLOADS[name], Offer(6.0, 10.0), TRACE)
            arm._load = Load(recorder(seen), clock=loop.time)
            samples = (await arm.run(3)).samples
            assert len(samples) == 60

    virtual(main)
    assert sorted(map(repr, asked[0])) == sorted(map(repr, asked[1]))


def test_capacity_leaves_the_filling_of_caches_out() -> None:
    assert rate_after([n / 10 for n in range(1, 101)], 3.0) == pytest.approx(10.0, rel=0.02)
    assert rate_after([], 3.0) == 0.0
    assert rate_after([1.0], 3.0) == 0.0


def test_capacity_is_what_a_crew_of_eight_gets_and_leaves_nothing_running(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        async def send(question: Question) -> Reply:
            await asyncio.sleep(0.5)
            return Reply()

        rate = await capacity_per_s(
            send, WORKLOADS["single_questions"], duration_s=10.0, seed=1, clock=loop.time
        )
        assert rate == pytest.approx(16.0, rel=0.1)
        assert len(asyncio.all_tasks()) == 1

    virtual(main)


def test_a_slow_machine_gets_more_time_but_not_for_ever(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        async def send(question: Question) -> Reply:
            await asyncio.sleep(12.0 if question.user_id.endswith("-1") else 1000.0)
            return Reply()

        workload = WORKLOADS["single_questions"]
        assert await capacity_per_s(send, workload, duration_s=5.0, seed=1, clock=loop.time) > 0
        assert loop.time() == pytest.approx(15.0)

    virtual(main)


def test_a_very_slow_engine_gets_time_for_its_first_answers(virtual: Any) -> None:
    """A real Ollama on a busy machine: seventeen seconds to the first token."""

    async def main(loop: Any) -> None:
        async def send(question: Question) -> Reply:
            await asyncio.sleep(26.0)
            return Reply()

        workload = WORKLOADS["single_questions"]
        assert await capacity_per_s(send, workload, duration_s=5.0, seed=1, clock=loop.time) > 0
        assert loop.time() == pytest.approx(30.0)

    virtual(main)


def test_an_engine_that_never_answers_has_no_capacity(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        async def send(question: Question) -> Reply:
            await asyncio.sleep(1000.0)
            return Reply()

        workload = WORKLOADS["single_questions"]
        assert await capacity_per_s(send, workload, duration_s=5.0, seed=1, clock=loop.time) == 0.0
        assert loop.time() == pytest.approx(45.0)

    virtual(main)


def test_returning_users_have_said_something_before_and_others_have_not() -> None:
    known = histories(WORKLOADS["returning_users"])
    assert known == histories(WORKLOADS["returning_users"])
    assert set(known) == {f"{POPULATION}-user-{n}" for n in range(8)}
    assert {len(exchanges) for exchanges in known.values()} == {4}
    assert histories(WORKLOADS["single_questions"]) == {}


def test_each_population_is_other_people_with_the_same_past(virtual: Any) -> None:
    workload = WORKLOADS["returning_users"]
    first, second = histories(workload, "one"), histories(workload, "two")
    assert list(first.values()) == list(second.values())
    assert not set(first) & set(second)
    asked: list[Question] = []

    async def main(loop: Any) -> None:
        arm = ChatArm("x", recorder(asked), workload, Offer(6.0, 5.0, population="two"), TRACE)
        arm._load = Load(recorder(asked), clock=loop.time)
        await arm.run(1)

    virtual(main)
    assert {question.conversation for question in asked} == set(second)


def test_a_warm_up_visits_every_returning_user_and_talks_to_nobody_for_long() -> None:
    returning, new = WORKLOADS["returning_users"], WORKLOADS["new_conversations"]
    assert isinstance(returning, ReturningUsers)
    same, slow = warming(returning, Offer(2.0, 1.5))
    assert same is returning
    assert slow.rate_per_s * slow.block_s >= returning.users
    _, very_slow = warming(returning, Offer(0.1, 1.5))
    assert very_slow.block_s == 6.0
    _, fast = warming(returning, Offer(40.0, 1.5))
    assert fast.block_s == 1.5
    short, _ = warming(new, Offer(2.0, 1.5))
    assert isinstance(short, NewConversations)
    assert short.turns == 1
