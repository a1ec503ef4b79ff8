"""Pictures are made from data alone and say n and direction."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from bench.charts import bars, distribution, over_load, ratios, sheet
from bench.samples import Block, Outcome, Results, Sample


def block(arm: str, number: int, *, slow: float, timed: bool = True) -> Block:
    samples = tuple(
        Sample(0.0, 0.0, slow * (1 + n / 10), Outcome.ANSWERED, slow / 3 if timed else None, 24)
        for n in range(10)
    )
    failed = (Sample(0.0, 0.0, 0.1, Outcome.FAILED),)
    name = "returning_users" if timed else "redis"
    return Block(name, arm, 0.9, number, 0, False, False, 0.0, 0.0, 0.5, 5.0, samples + failed)


ROW = {
    "name": "first token p50", "arm": "v2", "level": 0.9, "ratio": 3.0, "low": 2.0, "high": 4.5,
    "estimate": 0.3, "verdict": "better", "blocks": 8, "samples": 80, "target": 1.5,
}  # fmt: skip


def test_the_sheet_is_drawn_from_results_and_rows(tmp_path: Path) -> None:
    blocks = [
        block(arm, n, slow=slow, timed=timed)
        for timed in (True, False)
        for n in range(3)
        for arm, slow in (("v1", 3.0), ("v2", 1.0))
    ]
    path = tmp_path / "sheet.png"
    unknown = {**ROW, "name": "redis p50", "low": None, "high": None, "verdict": "undecided", "target": None}
    sheet(Results({"cores": 2, "commit": "abc"}, {}, blocks), [ROW, unknown], path)
    with Image.open(path) as picture:
        assert picture.width > 900
        assert len(picture.convert("L").getcolors(256) or []) > 10


def test_a_run_stopped_at_once_still_gives_a_sheet(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    sheet(Results({}, {}), [], path)
    assert path.stat().st_size > 1000


def test_failures_keep_the_curve_below_one() -> None:
    axes = Figure().add_subplot()
    distribution(axes, {"v1": [block("v1", 0, slow=1.0)], "v2": []}, metric="total_s", title="t")
    assert max(axes.lines[0].get_ydata()) == 10 / 11
    assert axes.get_xlim()[0] == 0
    assert "n=11" in axes.get_legend_handles_labels()[1][0]


def test_panels_start_at_zero_and_say_what_is_better() -> None:
    load, bar, ratio = (Figure().add_subplot() for _ in range(3))
    over_load(load, [ROW, {**ROW, "level": 0.5}], title="t")
    bars(bar, [ROW], title="t", unit="s (lower is better)")
    ratios(ratio, [ROW], title="t")
    assert load.get_ylim()[0] == bar.get_ylim()[0] == 0
    assert "lower is better" in load.get_ylabel()
    assert "right is better" in ratio.get_xlabel()
    assert "n=8 blocks" in ratio.get_yticklabels()[0].get_text()


@pytest.mark.parametrize("ratio", [0.01, 123.0, 4000.0])
def test_no_ratio_leaves_the_picture_and_a_wide_interval_does_not_stretch_it(ratio: float) -> None:
    axes = Figure().add_subplot()
    wide = {**ROW, "ratio": 11.8, "low": 0.5, "high": 2780.0}
    ratios(axes, [ROW, {**ROW, "ratio": ratio, "low": ratio, "high": ratio}, wide], title="t")
    left, right = axes.get_xlim()
    assert left < ratio < right
    assert right < max(110.0, 1.3 * ratio)
    assert all(left <= tick <= right for tick in axes.get_xticks())
