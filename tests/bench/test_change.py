"""What is watched while something changes, and the crowd."""

import asyncio
from typing import Any

from bench.change import values_of
from bench.crowd import PEOPLE, CrowdArm
from bench.load import Load, Reply
from bench.measures import CROWD, Slo
from bench.samples import Block
from bench.traces import load_trace
from bench.workloads import Lengths, Question


def test_every_flow_is_watched_and_v1_has_none() -> None:
    flow = {"name": "pool", "value": 5.0, "inflight": 2, "waiting": None, "law": "x"}
    found = values_of({"database_query": {"flows": [flow]}, "llm_inference": {"flows": []}})
    assert found == {
        "database_query.pool.value": 5.0,
        "database_query.pool.inflight": 2,
        "database_query.pool.waiting": None,
    }
    assert values_of({"database_query": {"pool_size": 5}}) == {}


def test_everybody_in_a_crowd_has_a_conversation_and_fairness_counts_their_answers(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        async def send(question: Question) -> Reply:
            await asyncio.sleep(0.1 if question.user_id.endswith("-0") else 0.5)
            return Reply()

        arm = CrowdArm("v1", send, Lengths(load_trace()), 2.0, 30.0)
        arm._load = Load(send, clock=loop.time)
        taken = await arm.run(1)
        assert len({sample.user for sample in taken.samples}) == PEOPLE
        turns = [sum(sample.user == str(person) for sample in taken.samples) for person in range(PEOPLE)]
        assert turns[0] > 3 * turns[1]
        block = Block("fairness", "v1", 1.0, 0, 0, False, False, 0.0, 0.0, 0.0, 2.0, tuple(taken.samples))
        jain = next(measure for measure in CROWD if "Jain" in measure.name).take(block, Slo())[0]
        assert jain == sum(turns) ** 2 / (PEOPLE * sum(turn * turn for turn in turns))
        assert jain < 0.8

    virtual(main)
