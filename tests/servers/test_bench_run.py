"""A whole run, very short: the arms on grounds of their own, over real HTTP, to a document that is valid."""

import io
import json
from dataclasses import replace
from pathlib import Path

import aiohttp
import jsonschema
import psutil
import pytest
from rich.console import Console

from bench.claims import claims
from bench.components import POSTGRESQL, REDIS
from bench.journal import Journal
from bench.profiles import QUICK, ChatPlan, ComponentPlan
from bench.progress import Steps
from bench.run import Run, begin, planned_s
from bench.samples import Outcome, Results, from_document, to_document
from bench.stage import Stage

pytestmark = pytest.mark.anyio

ARMS = ("v1", "fixed", "v2")
TINY = replace(
    QUICK,
    budget_s=100.0,
    components=ComponentPlan(rounds=1, block_s=0.05, warm_up=1),
    chats=(ChatPlan("returning_users", (0.5,), rounds=1, block_s=0.5, arms=ARMS, calibrate_s=1.0),),
)


async def test_all_arms_do_the_same_work_and_leave_nothing_behind(tmp_path: Path) -> None:
    results = begin(TINY)
    journal = Journal(tmp_path / "x.partial.jsonl")
    journal.begin(results)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    console = Console(file=io.StringIO())
    await Run(TINY, results, journal, Steps(planned_s(TINY), console=console))()
    after = psutil.Process().children(recursive=True)
    assert [child for child in after if child.pid not in before and child.is_running()] == []

    document = to_document(results, summary=[claim.row() for claim in claims(results)])
    schema = Path(__file__).parents[2] / "backend/bench/results.schema.json"
    jsonschema.validate(json.loads(json.dumps(document)), json.loads(schema.read_text()))
    assert from_document(document).blocks[0].arm in ARMS

    assert {b.experiment for b in results.blocks} == {POSTGRESQL, REDIS, "returning_users"}
    _same_work(results)

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
    assert tokens["v1"] == tokens["fixed"] == tokens["v2"]


async def test_the_fixed_arm_has_its_limits_nailed() -> None:
    async with Stage(("fixed",), engine="synthetic") as stage:
        url = stage.contestants["fixed"].url + "/buffers"
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            buffers = await reply.json()
    pool, engine = (buffers[kind]["flows"][0] for kind in ("database_query", "llm_inference"))
    assert pool["pinned"]
    assert (engine["pinned"], engine["value"]) == (True, 4)
