"""Ratios of a run: in the right direction, against the right arm, and compared with the line."""

import json
from pathlib import Path

import pytest

from bench.environment import describe
from bench.postgres import report
from bench.postgres.agreement import SCENARIOS, agreement
from bench.postgres.limits import Course
from bench.postgres.ratios import ratios
from bench.postgres.record import Measured


def measured(arm: str, metric: str, *values: float) -> Measured:
    return Measured("waiting 100 on 10", arm, metric, [[value] for value in values])


RUN = [
    measured("SQLAlchemy", "wait p99 ms", 200, 210, 190, 205, 195, 201),
    measured("SQLAlchemy", "calls/s", 900, 910, 905, 890, 900, 901),
    measured("fluido fixed", "wait p99 ms", 100, 104, 99, 101, 98, 102),
    measured("fluido fixed", "calls/s", 890, 880, 895, 885, 870, 880),
]


def test_less_time_and_more_calls_are_better() -> None:
    waits, calls = ratios(RUN)
    assert waits.ratio == pytest.approx(1.99, abs=0.02)
    assert waits.low < waits.ratio < waits.high
    assert waits.verdict == "missed, not certain"  # the line is 2.0
    assert calls.ratio == pytest.approx(0.98, abs=0.01)
    assert calls.verdict == "MISSED"


def test_few_blocks_decide_nothing_and_a_failed_run_is_no_ratio() -> None:
    (few,) = ratios([measured("SQLAlchemy", "calls/s", 1.0), measured("fluido fixed", "calls/s", 2.0)])
    assert (few.ratio, few.verdict) == (2.0, "reached, not certain")
    assert not ratios([measured("V1", "calls/s", 0.0), measured("fluido", "calls/s", 2.0)])
    assert not ratios([measured("V1", "settled s", 1.0), measured("fluido", "settled s", float("inf"))])


def test_the_report_is_written_with_its_command(tmp_path: Path) -> None:
    environment = describe()
    report.save(tmp_path / "run.json", environment, RUN, command="the command")
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["command"] == "the command"
    assert [row["line"] for row in document["ratios"]] == [2.0, 1.0]
    text = report.text(environment, RUN, command="the command")
    assert "| SQLAlchemy | 200 (" in text
    assert "| 1 | MISSED |" in text
    report.picture(tmp_path / "run.png", RUN, title="a run")
    assert (tmp_path / "run.png").stat().st_size > 5000


@pytest.mark.parametrize("workload", SCENARIOS)
def test_simulator_and_server_are_compared_in_their_order(workload: str) -> None:
    """The curves were measured on a real server: against themselves turned round they must not agree."""
    sizes = (2, 6, 15, 96)
    same = {size: row.blocks[0][0] for size, row in zip(sizes, curve_of(workload, sizes), strict=True)}
    assert opposite(workload, same) == 0
    turned = opposite(workload, {size: 1 / rate for size, rate in same.items()})
    assert (turned > 0) == (workload != "CPU")  # a plateau has no order


def curve_of(workload: str, sizes: tuple[int, ...]) -> list[Measured]:
    rows = agreement(workload, dict.fromkeys(sizes, 1.0))
    return [row for row in rows if row.metric == "simulator, of its best"]


def opposite(workload: str, swept: dict[int, float]) -> float:
    rows = agreement(workload, swept)
    return next(row.blocks[0][0] for row in rows if row.metric == "in opposite order")


def test_a_course_tells_when_it_settled() -> None:
    slow = [at / 10 for at in range(50)]
    fast = [5.0 + at / 100 for at in range(500)]
    course = Course(slow + fast, [(at / 4, 8.0 if at < 20 else 16.0) for at in range(40)])
    assert course.rate(5.0, 10.0) == 100.0
    assert course.limit(6.0, 10.0) == 16.0
    assert course.settled_s(0.0, 10.0, 100.0) == pytest.approx(4.8, abs=0.3)
    assert course.settled_s(0.0, 4.0, 100.0) is None
