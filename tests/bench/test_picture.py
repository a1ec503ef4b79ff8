"""The overview is drawn from a document; what was not measured is not drawn."""

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from bench.catalogue import STEP
from bench.charts import laws, over_time
from bench.claims import claims
from bench.picture import overview, values
from bench.samples import Results, Timeline
from bench.workloads import RETURNING

from .builders import chat_block, results

EVENTS = [(1.0, "slower"), (2.0, "as before")]
LINE = Timeline(
    STEP,
    "v2",
    0,
    [0.0, 1.0, 2.0],
    {"llm_inference.engine.value": [2.0, 1.0, None], "llm_inference.engine.inflight": [2.0, 1.0, 1.0]},
    EVENTS,
)


def ladder() -> Results:
    """Two loads, a third arm at one of them, and a step."""
    made = results(rounds=6)
    made.blocks += [replace(block, level=1.2) for block in results(rounds=6).blocks]
    made.blocks += [chat_block("fixed", number, 0.5) for number in range(6)]
    made.blocks += [replace(block, experiment=STEP) for block in results(rounds=2).blocks]
    made.timelines.append(LINE)
    return made


def test_the_overview_of_a_ladder_is_higher_than_that_of_one_load(tmp_path: Path) -> None:
    made, small = ladder(), results(rounds=6)
    heights = []
    for name, result in (("small", small), ("ladder", made)):
        path = tmp_path / f"{name}.png"
        overview(result, [claim.row() for claim in claims(result)], path)
        with Image.open(path) as picture:
            heights.append(picture.height)
            assert len(picture.convert("L").getcolors(256) or []) > 10
    assert heights[1] > heights[0] > 300


def test_a_value_of_an_arm_is_shown_once_whoever_it_was_compared_with() -> None:
    rows = [claim.row() for claim in claims(ladder())]
    found = values(rows, RETURNING, "end to end p50")
    assert [(row["arm"], row["level"]) for row in found] == [
        ("v1", 0.9),
        ("v1", 1.2),
        ("fixed", 0.9),
        ("v2", 0.9),
        ("v2", 1.2),
    ]
    assert found[0]["low"] <= found[0]["estimate"] <= found[0]["high"]
    assert {row["level"] for row in values(rows, RETURNING, "end to end p50", 1.2)} == {1.2}


def test_a_step_marks_its_events_and_what_the_law_said() -> None:
    time, decided = (Figure().add_subplot() for _ in range(2))
    blocks = {arm: [chat_block(arm, 0, 1.0, lost=2)] for arm in ("v1", "v2")}
    over_time(time, blocks, EVENTS, title="t")
    assert time.get_ylim()[0] == 0
    assert time.get_legend_handles_labels()[1] == ["v1 (n=12, 2 lost)", "v2 (n=12, 2 lost)"]
    laws(decided, [LINE, replace(LINE, round=1)], kind="llm_inference", title="t")
    assert decided.get_legend_handles_labels()[1] == ["limit (n=3)", "in use (n=3)"]
    assert [text.get_text() for text in decided.texts] == ["slower", "as before"]


def test_bars_tell_requests_from_blocks() -> None:
    rows = [claim.row() for claim in claims(results(rounds=6))]
    assert {row["samples"] for row in values(rows, RETURNING, "goodput")} == {6}
    assert values(rows, RETURNING, "end to end p50")[0]["samples"] == pytest.approx(60)
