"""What the matrix and the day make of their figures; the runs are `make no-harm` and `make day`."""

import pytest

from bench.day import BINDING, COURSE, LAW, Arm, Length, picture, summaries, table, verdicts
from bench.engine_limit import ENGINES
from bench.matrix import row
from bench.no_harm import CLOSED, counted
from bench.no_harm import Length as Blocks


def test_a_ratio_is_ours_over_theirs_and_times_are_turned_round() -> None:
    faster = row("cell", "calls/s", "stock", [100.0] * 5, [120.0] * 5)
    assert faster.comparison.ratio == pytest.approx(1.2)
    assert faster.met
    slower = row("cell", "ms", "stock", [100.0] * 5, [120.0] * 5, lower=True)
    assert slower.comparison.ratio == pytest.approx(1 / 1.2)
    assert not slower.met
    assert "MISSED" in str(slower)


def test_a_wide_interval_misses_a_line_that_asks_for_one() -> None:
    wild = row("cell", "calls/s", "best", [100.0] * 5, [60.0, 140.0, 70.0, 130.0, 110.0], interval=0.9)
    assert wild.comparison.ratio > 0.95
    assert not wild.met


def test_every_cell_of_the_design_has_a_name() -> None:
    names = [*counted(Blocks()), *CLOSED, *ENGINES]
    assert len(names) == len(set(names)) == 16


def days(found: dict[int, list[float]]) -> dict[int, Arm]:
    arms = {}
    for size, rates in found.items():
        arms[size] = Arm(rates=[[rate] for rate in rates], p95_ms=[[1e3 / rate] for rate in rates])
    return arms


def test_the_oracle_is_the_best_constant_of_each_phase(tmp_path) -> None:  # type: ignore[no-untyped-def]
    low = [100.0] * len(COURSE)
    high = [100.0] * len(COURSE)
    for index in BINDING[::2]:
        low[index] = 25.0
    for index in BINDING[1::2]:
        high[index] = 50.0
    law = [95.0] * len(COURSE)
    found = days({LAW: law, 4: low, 96: high})
    found[LAW].limits = [(0.0, 15.0, 15.0, "start"), (1.0, 29.0, 15.0, "leap")]
    made = summaries(found)
    assert made[LAW].mean == pytest.approx(0.95)
    assert made[4].mean < made[LAW].mean
    lines = verdicts(made)
    assert all(met for name, (_, met) in lines.items() if not name.startswith("p95"))
    assert "**the law**" in table(made)
    picture(tmp_path / "day.png", found, made, Length(days=1))
    assert (tmp_path / "day.png").stat().st_size > 5000


def test_a_law_that_is_no_better_than_a_constant_misses() -> None:
    same = [100.0] * len(COURSE)
    lines = verdicts(summaries(days({LAW: same, 15: same})))
    assert not lines["over the best constant, mean"][1]
