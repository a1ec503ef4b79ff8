import asyncio
import json

import pytest

from bench.llm.__main__ import parser, rows_of, table
from bench.llm.arms import V2, Memory
from bench.llm.comparison import Cell, Compared
from bench.llm.grid import save
from bench.llm.overhead import overhead
from bench.llm.stage import Kitchen
from bench.ollama_hang import ODD_CTX, Scene
from bench.samples import Block, Outcome, Sample

pytestmark = pytest.mark.anyio


def block(arm: str, number: int, seconds: float) -> Block:
    samples = tuple(
        Sample(0.0, 0.0, seconds + n / 100, Outcome.ANSWERED, first_s=seconds / 2, output_tokens=8)
        for n in range(10)
    )
    return Block("returning_users", arm, 0.9, number, 0, False, False, 0.0, 0.0, 0.0, 5.0, samples)


def test_ratios_are_against_v1_in_the_same_rounds() -> None:
    blocks = [block(arm, n, s) for n in range(5) for arm, s in (("v1", 2.0), ("v2", 0.5))]
    found = Compared(blocks, 1.0, ("engine",), {"v2": 1.0})
    rows = rows_of(found)
    ratios = {(row["metric"], row["quantile"]): row["ratio"] for row in rows if row["arm"] == "v2"}
    assert ratios["ttft_s", "p50"] == pytest.approx(4.0)
    assert ratios["total_s", "p95"] == pytest.approx(2.09 / 0.59)
    assert "ratio" not in next(row for row in rows if row["arm"] == "v1")
    assert "4.00" in table(found, rows)


def test_what_is_slower_is_called_worse() -> None:
    blocks = [block(arm, n, s) for n in range(8) for arm, s in (("v1", 0.5), ("v2", 5.0), ("v2_again", 0.5))]
    rows = rows_of(Compared(blocks, 1.0, ("engine",), {}))
    verdicts = {arm: {row["verdict"] for row in rows if row["arm"] == arm} for arm in ("v2", "v2_again")}
    assert verdicts == {"v2": {"worse"}, "v2_again": {"undecided"}}


def test_an_arm_remembers_what_was_said_before_and_since() -> None:
    memory = Memory({"a": [("q", "x")]})
    memory.of("a").append(memory.of("a")[0])
    assert len(memory.of("a")) == 2
    assert memory.of("b") == []
    assert V2.pins


def test_the_grid_becomes_a_picture(tmp_path) -> None:
    cells = [
        Cell(slots, talks, arm, (1.0, 2.0), (0.5, 1.0), 0)
        for slots in (1, 4)
        for talks in (1, 3)
        for arm in ("window", "append", "v2")
    ]
    save(cells, Kitchen(), tmp_path / "grid.json")
    saved = json.loads((tmp_path / "grid.json").read_text())
    assert saved["cells"][0]["total_s_p95"] == 2.0
    assert (tmp_path / "grid.png").stat().st_size > 1000


async def test_the_scene_tells_who_was_served_and_who_was_not() -> None:
    async def hangs_for_the_odd_one(caller: int, num_ctx: int) -> tuple[str, ...]:
        await asyncio.sleep(0)
        if num_ctx == ODD_CTX:
            await asyncio.Event().wait()
        return ()

    outcome = await Scene(hangs_for_the_odd_one, "scripted", 0.05, late_patience_s=0.05, warm_up_s=0.01).run()
    assert outcome.odd_hung
    assert outcome.odd_answers == 0
    assert not outcome.late_load_answered
    assert outcome.steady_answers > 0


async def test_the_scene_does_not_call_a_last_question_cut_short_a_hang() -> None:
    async def serves_everybody(caller: int, num_ctx: int) -> tuple[str, ...]:
        await asyncio.sleep(0.01)
        return (f"{caller} {num_ctx}",)

    scene = Scene(serves_everybody, "scripted", 0.1, late_patience_s=0.05, warm_up_s=0.01, odd_pause_s=0.0)
    outcome = await scene.run()
    assert not outcome.odd_hung
    assert outcome.odd_answers > 1
    assert outcome.late_load_answered


async def test_the_overhead_is_told_beside_the_bare_engine() -> None:
    found = await overhead(50)
    assert found.calls == 50
    assert found.through_ms_p50 > found.direct_ms_p50 > 0
    assert found.added_ms_p99 == pytest.approx(found.through_ms_p99 - found.direct_ms_p99)


def test_every_subcommand_has_short_blocks() -> None:
    for what in ("load", "ablation", "shares", "overload", "engines", "residency"):
        assert parser().parse_args([what]).block_s <= 6.0
    assert parser().parse_args(["overload"]).levels == [1.3]
