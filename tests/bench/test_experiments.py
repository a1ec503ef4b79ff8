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
)
from bench.load import Load, Reply
from bench.samples import Outcome, Sample
from bench.traces import load_trace
from bench.workloads import Question

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
            samples = await arm.run(3)
            assert len(samples) == 60

    virtual(main)
    assert sorted(map(repr, asked[0])) == sorted(map(repr, asked[1]))


def test_capacity_leaves_the_filling_of_caches_out() -> None:
    samples = [Sample(0.0, n / 10, n / 10 + 0.5, Outcome.ANSWERED) for n in range(100)]
    samples += [Sample(0.0, 5.0, 5.1, Outcome.FAILED)]
    assert rate_after(samples, 3.0) == pytest.approx(10.0, rel=0.05)
    assert rate_after([], 3.0) == 0.0


async def _capacity() -> float:
    seen: list[Question] = []
    return await capacity_per_s(recorder(seen), WORKLOADS["single_questions"], duration_s=0.2, seed=1)


def test_capacity_is_measured_with_a_crew_of_eight() -> None:
    assert 300 < asyncio.run(_capacity()) < 900


def test_returning_users_have_said_something_before_and_others_have_not() -> None:
    known = histories(WORKLOADS["returning_users"])
    assert known == histories(WORKLOADS["returning_users"])
    assert set(known) == {f"{POPULATION}-user-{n}" for n in range(8)}
    assert {len(exchanges) for exchanges in known.values()} == {4}
    assert histories(WORKLOADS["single_questions"]) == {}
