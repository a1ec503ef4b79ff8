"""A whole run, very short: the versions on grounds of their own, over real HTTP, to a valid document."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import jsonschema
import psutil
import pytest
from rich.console import Console

from bench.arms import Constants
from bench.catalogue import CAPACITY_OF, DAY, LAW, LIVING, POSTGRESQL, REDIS, RUNGS, STATIONARY, VISITS
from bench.claims import contradiction, document
from bench.experiments.database import Day, Stationary
from bench.experiments.people import Capacity, Living, People
from bench.experiments.turns import Turns
from bench.journal import Journal
from bench.profiles import Profile
from bench.progress import Steps
from bench.run import Run, begin
from bench.samples import Outcome, Results, from_document
from bench.stage import Ground, Stage
from bench.sweep import Sweep
from bench.traces import load_trace
from bench.v1.tuning import Tuning
from bench.workloads import Gaps, Lengths, Pauses, Population

pytestmark = pytest.mark.anyio

TINY = Profile(
    "tiny",
    "synthetic",
    500.0,
    (
        Turns(POSTGRESQL, ("v1", "v1_tuned", "v2"), 1, 0.05, 0.0),
        Turns(REDIS, ("v1", "v1_tuned", "pipelines", "v2"), 1, 0.05, 0.0),
        Capacity(("v1", "v2"), rounds=1, block_s=4.0, people=40),
        People(VISITS, ("v1", "v2"), (0.8,), 1, 2.0, 0.5),
        People(RUNGS, ("v1_history_one", "v2_constants", "v2_whole"), (0.8,), 1, 1.0, 0.0, of="v1"),
        Living(("v1", "v2"), rounds=1, block_s=1.0, levels=(4.0, 8.0)),
        Day(rounds=1, law_s=0.6, constant_s=0.4, constants=(4, 15)),
        Stationary(rounds=1, cells=("I/O",), first_s=0.3, later_s=0.3, learn_s=0.3, constants=(4,)),
    ),
    sweep=Sweep(1, 0.02, 0.3),
)


def ground(profile: Profile, say: Callable[[str], None]) -> Ground:
    return Stage(profile.arms, engine=profile.engine, say=say)


@pytest.mark.runs
async def test_all_versions_do_the_same_work_and_leave_nothing_behind(tmp_path: Path) -> None:
    results = begin(TINY)
    journal = Journal(tmp_path / "x.partial.jsonl")
    journal.begin(results)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    console = Console(file=(tmp_path / "progress.log").open("w"))
    await Run(TINY, results, journal, Steps(TINY.planned_s, console=console), ground)()
    after = psutil.Process().children(recursive=True)
    assert [child for child in after if child.pid not in before and child.is_running()] == []

    told = json.loads(json.dumps(document(results)))
    schema = Path(__file__).parents[2] / "backend/bench/results.schema.json"
    jsonschema.validate(told, json.loads(schema.read_text()))
    assert contradiction(told, from_document(told)) is None
    assert {b.experiment for b in results.blocks} == {
        POSTGRESQL, REDIS, CAPACITY_OF, VISITS, RUNGS, LIVING, DAY, STATIONARY,
    }  # fmt: skip
    assert all(claim["verdict"] == "not in this run" for claim in told["claims"])
    _same_work(results)
    assert set(results.configuration["tuned"]) == {
        "pool_size", "pipeline", "in_flight", "exchanges", "whole_in_flight",
    }  # fmt: skip
    (line,) = results.timelines
    assert (line.experiment, line.arm) == (DAY, LAW)
    assert sum(what.startswith("phase ") for _, what in line.events) == 10

    again = begin(TINY)
    assert journal.resume(again) == len(results.blocks)


def _same_work(results: Results) -> None:
    """Every answer has the length that was asked for, and the same question of a person is the same text."""
    asked: dict[tuple[str, int], int] = {}
    for experiment in (VISITS, RUNGS):
        blocks = [block for block in results.blocks if block.experiment == experiment]
        for block in blocks:
            assert block.people >= 200
            assert {sample.outcome for sample in block.samples} <= {Outcome.ANSWERED}
            for sample in block.samples:
                assert sample.ttft_s is not None
                assert 0 < sample.ttft_s <= sample.total_s
                key = (sample.user, sample.turn)
                assert asked.setdefault(key, sample.output_tokens) == sample.output_tokens
        assert sum(len(block.samples) for block in blocks) > 3


def few(name: str) -> Population:
    trace = load_trace()
    return Population(name, 4, Lengths(trace), Gaps(trace), Pauses())


async def test_a_version_comes_anew_with_a_new_process_and_people_who_talked_to_it_before() -> None:
    people = few("second")
    async with Stage(("v1",), engine="synthetic") as stage:
        old = stage.contestants["v1"].server.pid
        database_url = stage.contestants["v1"].database_url
        await stage.restart("v1", {})
        for _ in range(2):  # also a second time: nobody is there twice
            await stage.settle("v1", people.histories())
        contestant = stage.contestants["v1"]
        assert contestant.server.pid not in {None, old}
        assert contestant.database_url == database_url
        assert contestant.sender.knows(people.users())
        question = next(people.sequence())
        reply = await contestant.sender(question)
    assert reply.output_tokens == question.output_tokens
    assert reply.prompt_tokens > 100


async def test_the_constants_of_a_sweep_are_nailed_and_the_whole_history_is_sent() -> None:
    constants = Constants(Tuning(pool_size=7), whole_in_flight=2)
    arms = ("v2_constants", "v1_history", "v1")
    people = replace(few("nailed"), count=12)
    longest = max(people.histories().items(), key=lambda item: len(item[1]))
    async with Stage(arms, engine="synthetic") as stage:
        for arm in arms:
            await stage.restart(arm, constants.environment(arm))
            await stage.settle(arm, people.histories())
        url = stage.contestants["v2_constants"].url + "/buffers"
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            buffers = await reply.json()
        question = replace(next(people.sequence()), user_id=longest[0], conversation=longest[0])
        sent = {arm: (await stage.contestants[arm].sender(question)).prompt_tokens for arm in arms}
    pool, engine = (buffers[kind]["flows"][0] for kind in ("database_query", "llm_inference"))
    assert (pool["pinned"], pool["value"]) == (True, 7)
    assert (engine["pinned"], engine["value"]) == (True, 2)
    assert len(longest[1]) > 3
    assert sent["v1_history"] > sent["v1"]
