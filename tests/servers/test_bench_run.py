"""A whole run, very short: the arms on grounds of their own, over real HTTP, to a document that is valid."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import jsonschema
import psutil
import pytest
from rich.console import Console

from bench.catalogue import FAIRNESS, LEVERS, POSTGRESQL, POSTGRESQL_INSERTS, REDIS, REDIS_GET, STEP, about
from bench.claims import claims, power
from bench.doors import Processes
from bench.experiments import histories, standard_workloads
from bench.journal import Journal
from bench.profiles import QUICK, ChatPlan, ComponentPlan, Profile, TunePlan
from bench.progress import Steps
from bench.run import Run, begin
from bench.samples import Outcome, Results, from_document, to_document
from bench.schedule import planned_s
from bench.stage import Ground, Stage

pytestmark = pytest.mark.anyio

ARMS = ("v1", "v1_tuned", "v2")
TINY = replace(
    QUICK,
    budget_s=400.0,
    components=ComponentPlan(
        rounds=1,
        block_s=0.05,
        warm_s=0.0,
        arms=ARMS,
        parts=((POSTGRESQL_INSERTS, 0.1), (REDIS_GET, 0.05)),
    ),
    chats=(
        ChatPlan("returning_users", (0.5,), rounds=1, block_s=0.5, arms=ARMS, calibrate_s=2.0, warm_s=0.3),
        ChatPlan("returning_users", (0.5,), rounds=1, block_s=1.0, warm_s=0.0, name=STEP),
        ChatPlan(
            "new_conversations", (1.0,), rounds=1, block_s=1.5, calibrate_s=2.0, warm_s=0.2, name=FAIRNESS
        ),
        ChatPlan(
            "returning_users",
            (0.5,),
            rounds=1,
            block_s=0.3,
            arms=("v1", "append"),
            calibrate_s=2.0,
            warm_s=0.2,
            name=LEVERS,
        ),
    ),
    tune=TunePlan(1, 0.02, 0.1),
)


def ground(profile: Profile, say: Callable[[str], None]) -> Ground:
    return Stage(profile.arms, engine=profile.engine, say=say)


@pytest.mark.runs
async def test_all_arms_do_the_same_work_and_leave_nothing_behind(tmp_path: Path) -> None:
    results = begin(TINY)
    journal = Journal(tmp_path / "x.partial.jsonl")
    journal.begin(results)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    console = Console(file=io.StringIO())
    await Run(TINY, results, journal, Steps(planned_s(TINY), console=console), ground)()
    after = psutil.Process().children(recursive=True)
    assert [child for child in after if child.pid not in before and child.is_running()] == []

    found = claims(results)
    seen = list(dict.fromkeys(block.experiment for block in results.blocks))
    document = to_document(
        results, summary=[claim.row() for claim in found], experiments=about(seen), power=power(found)
    )
    schema = Path(__file__).parents[2] / "backend/bench/results.schema.json"
    jsonschema.validate(json.loads(json.dumps(document)), json.loads(schema.read_text()))
    assert from_document(document).blocks[0].arm in ARMS

    turns = {POSTGRESQL, REDIS, POSTGRESQL_INSERTS, REDIS_GET}
    assert {b.experiment for b in results.blocks} == turns | {"returning_users", STEP, FAIRNESS, LEVERS}
    _same_work(results)
    steps = [line for line in results.timelines if line.arm == "v2"]
    assert any(name.startswith("llm_inference.") for name in steps[0].values)
    assert [what for _, what in steps[0].events] == ["engine at half speed", "engine at full speed"]
    assert set(results.configuration["tuned"]) == {"pool_size", "pipeline", "in_flight"}
    assert len({s.user for b in results.select(FAIRNESS, "v2") for s in b.samples}) == 24

    again = begin(TINY)
    assert journal.resume(again) == len(results.blocks)


def _same_work(results: Results) -> None:
    """Every answer has the length that was asked for, and all arms got the same questions."""
    by_arm = {arm: results.select("returning_users", arm) for arm in ARMS}
    tokens = {}
    for arm, blocks in by_arm.items():
        samples = [sample for block in blocks for sample in block.samples]
        assert samples
        assert {sample.outcome for sample in samples} == {Outcome.ANSWERED}
        assert all(sample.ttft_s and 0 < sample.ttft_s <= sample.total_s for sample in samples)
        assert all(sample.database_s is not None for sample in samples)
        tokens[arm] = sorted(sample.output_tokens for sample in samples)
    assert tokens["v1"] == tokens["v1_tuned"] == tokens["v2"]


async def test_an_arm_comes_anew_with_a_new_process_and_people_who_talked_to_it_before() -> None:
    workload = standard_workloads()["returning_users"]
    async with Stage(("v1",), engine="synthetic") as stage:
        before = stage.contestants["v1"]
        old = before.server.pid
        async with Processes(stage, workload, ("v1",)).anew("second") as ways:
            assert stage.contestants["v1"].server.pid not in {None, old}
            assert stage.contestants["v1"].database_url == before.database_url
            assert before.sender.knows(histories(workload, "second"))
            visit = workload.sessions(1, seed=1, namespace="second")[0].questions[0]
            reply = await ways["v1"](visit)
    assert reply.output_tokens == visit.output_tokens
    assert reply.prompt_tokens > 200


async def test_the_fixed_arm_has_its_limits_nailed() -> None:
    async with Stage(("fixed",), engine="synthetic") as stage:
        url = stage.contestants["fixed"].url + "/buffers"
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            buffers = await reply.json()
    pool, engine = (buffers[kind]["flows"][0] for kind in ("database_query", "llm_inference"))
    assert pool["pinned"]
    assert (engine["pinned"], engine["value"]) == (True, 4)
