"""A part of `make simulate`, small enough for every run of the suite; CI plays the whole by itself."""

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from fluido.laws._ladder import Ladder
from fluido.testing.__main__ import main
from fluido.testing.day import SHORT_PHASE_S, Day, _play, play_day
from fluido.testing.figures import jain
from fluido.testing.rivals.aimd import Aimd
from fluido.testing.runner import DEFAULT_LAW, FOLDER, Played, Verdict, judge, play
from fluido.testing.scenario import load
from fluido.testing.simulation import Simulation

BEFORE = "fluido.testing.rivals.elasticity:FromEight"
QUICK = [
    "does_not_bind",
    "no_harm_burst",
    "no_harm_cold_60",
    "no_harm_one_caller",
    "plateau",
    "outage",
    "real_commits",
    "real_hot_row",
    "replicas_2",
    "control_from_eight",
    "control_not_app_limited",
    "control_own_slots",
    "control_timeouts_only",
    "control_unsynchronised",
]


@lru_cache
def played(name: str, law: str = DEFAULT_LAW) -> Played:
    return play(load(FOLDER / f"{name}.toml"), law, 1, short=True, keep_trace=False)


def verdicts(name: str, law: str = DEFAULT_LAW) -> list[Verdict]:
    return judge([played(name, law)])


@pytest.mark.parametrize("name", QUICK)
def test_a_scenario_meets_its_lines(name: str) -> None:
    found = verdicts(name)
    assert found
    assert [verdict for verdict in found if not verdict.holds] == []


@pytest.mark.parametrize("name", ["control_own_slots", "control_unsynchronised", "control_timeouts_only"])
def test_a_control_misses_because_its_limits_run_away(name: str) -> None:
    assert played(name).figures["latency"] > 1.5, "too many calls are inside, and each takes longer"


def test_the_day_is_better_than_every_constant() -> None:
    day = play_day(DEFAULT_LAW, short=True, processes=1)
    verdicts = day.verdicts()
    assert all(verdicts[name][1] for name in verdicts if name != "share of the oracle"), verdicts
    assert verdicts["share of the oracle"][0] > 0.8
    assert day.mean(day.constants[day.best]) < 0.85, "a day on which one constant is right proves nothing"
    before = Day([_play((BEFORE, 0, 0, SHORT_PHASE_S))], day.constants).verdicts()
    assert before["share of the oracle"][0] < verdicts["share of the oracle"][0] - 0.05
    assert not before["share of the oracle"][1], "the law before the ladder is a negative control"


def test_the_control_without_the_rule_moves_its_limit_while_demand_is_a_quarter() -> None:
    assert played("control_not_app_limited").figures["limit_kept"] > 0.02
    assert played("app_limited").figures["limit_kept"] == 0


def test_a_law_that_finds_no_limit_is_seen() -> None:
    (throughput, *_) = verdicts("real_hot_row", "fluido.testing.rivals.aimd:Aimd")
    assert not throughput.passed
    assert throughput.miss > 0.3


def test_a_run_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    scenario = replace(load(FOLDER / "steady.toml"), duration_s=3.0)
    runs = [Simulation(scenario, Ladder, seed).run() for seed in (1, 1, 2)]
    assert runs[0].schedule == runs[1].schedule
    assert runs[0].limits == runs[1].limits
    assert runs[0].schedule != runs[2].schedule
    assert Simulation(scenario, Aimd, 1).run().schedule != runs[0].schedule


def test_every_move_is_logged_with_its_reason_and_not_as_the_comparison_after_it() -> None:
    scenario = replace(load(FOLDER / "real_two_hot_rows.toml"), duration_s=12.0)
    run = Simulation(scenario, Ladder, 0)
    run.run()
    log = run.replicas[0].limiter.decisions
    moves = [record for record in log if record.reason in {"leap", "more_does_more", "fewer_do_as_much"}]
    assert moves
    for move in moves:
        assert {"limit", "reference", "compared", "with", "gain"} <= set(move.inputs)


def test_every_scenario_has_a_text_lines_and_a_short_form() -> None:
    files = sorted(FOLDER.glob("*.toml"))
    assert len(files) >= 25
    for path in files:
        scenario = load(path)
        assert scenario.text
        assert scenario.lines
        assert scenario.short_s
        if path.stem.startswith("control_"):
            assert scenario.control in {line.figure for line in scenario.lines}


MINE = """
text = "mine"
duration_s = 4

[[phase]]
at_s = 0
knee = { cores = 2, service_s = 0.01 }

[[group]]
clients = 10

[[line]]
figure = "throughput"
better = "more"
line = 0.5
"""


def test_the_command_plays_a_scenario_of_ones_own_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    arguments = ["scenarios", str(path), "--seeds", "1", "--processes", "1", "--pictures", str(tmp_path)]
    assert main(arguments) == 0
    assert "mine" in capsys.readouterr().out
    assert (tmp_path / "mine.png").stat().st_size > 5000


def test_the_table_can_be_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    assert main(["scenarios", str(path), "--seeds", "1", "--processes", "1", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert re.match(r"Law `fluido.laws:Ladder`, 1 seeds each, commit (\w+\+?)\.\n\n\| scenario", out)
    assert "| scenario | figure | value | pass line | |\n|---|---|---:|---|---|\n| mine | throughput |" in out


def test_a_missed_line_is_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE.replace("line = 0.5", "line = 5.0"))
    assert main(["scenarios", str(path), "--seeds", "1", "--processes", "1"]) == 1
    assert "MISSED by" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["", "text = 1\n", MINE.replace("cores = 2", "cors = 2"), MINE.replace("at_s = 0", "at_s = 1")]
)
def test_a_wrong_file_is_refused_by_name(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    assert main(["scenarios", str(path)]) == 2
    assert "wrong.toml" in capsys.readouterr().err


NO_LAWS = ["nothing", "fluido:Nobody", "no.such:Law", "fluido.testing.rivals.aimd:BACK_OFF"]


@pytest.mark.parametrize("law", NO_LAWS)
def test_a_law_that_does_not_exist_is_refused(law: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios", "--law", law]) == 2
    assert capsys.readouterr().err


def test_fairness_is_one_for_equals() -> None:
    assert jain([3, 3, 3]) == 1
    assert jain([3, 0, 0]) == pytest.approx(1 / 3)
    assert jain([]) == 0
