"""Loads are shares of a capacity of the version itself; nobody is compared where there is none."""

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bench.arms import Constants
from bench.catalogue import CAPACITY_OF, RUNGS, VISITS
from bench.experiment import Context
from bench.experiments.people import LEAST, Capacity, CrewArm, Living, People, capacity_of, rate_after
from bench.experiments.remembered import fact, is_right
from bench.load import Reply
from bench.samples import Results
from bench.stage import Ground
from bench.sweep import of_grid
from bench.traces import load_trace
from bench.v1.tuning import WHOLE
from bench.workloads import Question

from .builders import PER_S, block

TRACE = load_trace()


class Nowhere:
    """A ground of which nothing is asked in these tests."""

    prefix = "x"


def context(results: Results) -> Context:
    ground: Any = Nowhere()
    known: Ground = ground
    numbers = iter(range(1000))
    return Context(known, results, TRACE, 30.0, 1, lambda _: None, lambda: next(numbers))


def measured(**per_s: float) -> Results:
    blocks = [
        block(CAPACITY_OF, arm, number, figures={"per_s": rate})
        for arm, rate in per_s.items()
        for number in range(3)
    ]
    return Results({}, {"slo": {}}, blocks)


async def scenes(plan: People | Living, results: Results, number: int = 0) -> list[Any]:
    async with AsyncExitStack() as closing:
        stand = await closing.enter_async_context(plan.opened(context(results)))
        return list(await closing.enter_async_context(stand(number)))


def asked_per_s(population: Any) -> float:
    return float(population.count / population.pauses.cycle_s)


def test_each_version_gets_people_for_a_share_of_its_own_capacity(virtual: Any) -> None:
    async def main(_: Any) -> None:
        results = measured(v1=12.0, v2=25.0)
        made = await scenes(People(VISITS, ("v1", "v2"), (0.5, 0.8), 5, 20.0), results)
        for scene in made:
            for arm in scene.arms:
                assert asked_per_s(arm.people) == pytest.approx(scene.level * PER_S[arm.name], rel=0.02)
                assert arm.people.count >= LEAST
        # Person n is the same person in both.
        one, two = (arm.people for arm in made[0].arms)
        assert one.name == two.name

    virtual(main)


def test_the_ladder_gives_everybody_the_same_people(virtual: Any) -> None:
    async def main(_: Any) -> None:
        plan = People(RUNGS, ("v1", "v1_history", "v2"), (0.8,), 5, 8.0, of="v1")
        (scene,) = await scenes(plan, measured(v1=12.0, v2=25.0))
        assert len({arm.people for arm in scene.arms}) == 1
        assert asked_per_s(scene.arms[0].people) == pytest.approx(9.6, rel=0.02)

    virtual(main)


def test_two_hundred_people_are_the_least_however_slow_a_version_is(virtual: Any) -> None:
    async def main(_: Any) -> None:
        (scene,) = await scenes(People(VISITS, ("v1",), (0.5,), 5, 20.0), measured(v1=0.4))
        people = scene.arms[0].people
        assert people.count == LEAST
        assert asked_per_s(people) == pytest.approx(0.2, rel=0.02)

    virtual(main)


def test_arms_that_are_seldom_there_play_the_first_rounds_only(virtual: Any) -> None:
    async def main(_: Any) -> None:
        plan = People(VISITS, ("v1",), (0.8,), 8, 20.0, seldom=("v2",), few=5)
        for number, arms in ((4, 2), (5, 1)):
            (scene,) = await scenes(plan, measured(v1=12.0, v2=25.0), number)
            assert len(scene.arms) == arms

    virtual(main)


def test_a_block_of_requests_is_as_long_as_they_take(virtual: Any) -> None:
    async def main(_: Any) -> None:
        plan = People(VISITS, ("v1",), (0.8,), 5, 60.0, requests=16)
        (scene,) = await scenes(plan, measured(v1=0.2))
        assert scene.arms[0].block_s == pytest.approx(100.0)

    virtual(main)


def test_without_a_capacity_nothing_is_a_share_of_it(virtual: Any) -> None:
    async def main(_: Any) -> None:
        with pytest.raises(RuntimeError, match="v2 answered nothing"):
            await scenes(People(VISITS, ("v1", "v2"), (0.8,), 5, 20.0), measured(v1=12.0))

    virtual(main)
    assert capacity_of(measured(v1=12.0), "v1") == 12.0


def test_a_capacity_is_told_from_the_answers_after_the_first_third(virtual: Any) -> None:
    assert rate_after([n / 10 for n in range(1, 101)], 3.0) == pytest.approx(10.0, rel=0.01)
    assert rate_after([], 3.0) == 0.0
    assert rate_after([1.0], 3.0) == 0.0

    async def main(_: Any) -> None:
        async def send(question: Question) -> Reply:
            await asyncio.sleep(0.5)
            return Reply(output_tokens=question.output_tokens)

        crowd = context(measured()).population("p", 300)
        taken = await CrewArm("v1", send, crowd, 9.0, 30.0, size=8).run(5)
        assert taken.people == 300
        # perf_counter does not follow virtual time: only that something was counted is looked at here.
        assert taken.figures["requests"] == pytest.approx(8 * 18, abs=8)

    virtual(main)


def test_plans_say_how_long_they_take() -> None:
    assert Capacity(("v1", "v2"), 5, 4.0).round_s() > 8.0
    more = People(VISITS, ("v1",), (0.5, 0.8), 5, 20.0, seldom=("v2",))
    assert more.round_s() > People(VISITS, ("v1",), (0.8,), 5, 20.0).round_s() * 2
    assert Living(("v1",), 5, 5.0).round_s() > 20.0


def test_a_sweep_tries_exchanges_and_requests_in_flight_together() -> None:
    grid = {(0, 3): 9.0, (1, 3): 8.0, (0, WHOLE): 7.0, (1, WHOLE): 14.0, (2, WHOLE): 13.0}
    found = of_grid(grid)
    assert (found["in_flight"]["chosen"], found["exchanges"]["chosen"]) == (1, WHOLE)
    assert found["whole_in_flight"] == {"chosen": 1, "per_s": {"0": 7.0, "1": 14.0, "2": 13.0}}
    tuned = {**found, "pool_size": {"chosen": 20, "per_s": {}}, "pipeline": {"chosen": 64, "per_s": {}}}
    constants = Constants.of(tuned)
    assert constants.environment("v1_best")["V1_EXCHANGES"] == str(WHOLE)
    assert constants.environment("v2_constants") == {"BENCH_IN_FLIGHT": "1", "BENCH_CONNECTIONS": "20"}
    assert constants.environment("v1") == {} == constants.environment("v2")
    assert constants.environment("v1_history")["V1_IN_FLIGHT"] == "0"
    assert Constants.of({}).environment("v2_constants")["BENCH_CONNECTIONS"] == "15"


def test_a_fact_is_told_first_and_asked_last() -> None:
    known = fact(random.Random(3))
    assert len(known.told) == 4
    assert known.word in known.told[0][0]
    assert not any(known.word in text for pair in known.told[1:] for text in pair)
    assert is_right(f"It is {known.word.upper()}.", known.word)
    assert not is_right("I do not know.", known.word)
