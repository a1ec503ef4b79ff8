"""Two runs: which verdicts are the same, which are not, and what only one of them measured."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.__main__ import cli
from bench.agreement import agreement, differences
from bench.claims import claims
from bench.samples import to_document, write

from .builders import results


def row(measure: str, verdict: str, low: float | None = 1.1, high: float | None = 2.0) -> dict[str, Any]:
    place = {"experiment": "returning_users", "level": 0.9, "control": "v1", "treatment": "v2"}
    return {**place, "measure": measure, "verdict": verdict, "ratio": 1.5, "low": low, "high": high}


def test_verdicts_are_matched_by_what_they_are_about_and_not_by_their_place() -> None:
    first = [row("a", "better"), row("b", "undecided"), row("c", "better"), row("only here", "worse")]
    second = [row("c", "worse", 0.2, 0.8), row("b", "better"), row("a", "better", None, None)]
    found = agreement(first, second)
    assert [(pair.identity[2], pair.first_at, pair.second_at) for pair in found.pairs] == [
        ("a", 0, 2),
        ("b", 1, 1),
        ("c", 2, 0),
    ]
    assert [pair.agrees for pair in found.pairs] == [True, False, False]
    assert [pair.contradicts for pair in found.pairs] == [False, False, True]
    assert [pair.overlaps for pair in found.pairs] == [None, True, False]
    assert [name[2] for name in found.only_first] == ["only here"]
    assert found.only_second == ()
    assert not found.is_complete
    assert agreement(first, first).is_complete
    assert not agreement([], []).is_complete


def test_runs_of_other_machines_or_profiles_are_told_apart() -> None:
    one: dict[str, Any] = {
        "environment": {"cpu": "x", "cores": 2, "commit": "abc"},
        "configuration": {"profile": {"name": "full", "engine": "synthetic"}},
        "complete": True,
    }
    assert differences(one, one) == []
    two = {
        **one,
        "environment": {"cpu": "x", "cores": 8, "commit": "abc"},
        "configuration": {},
        "complete": False,
    }
    said = differences(one, two)
    assert "cores: 2 in the first, 8 in the second" in said
    assert "name: full in the first, None in the second" in said
    assert "the second run is not complete" in said


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two results on disk: in the second V2 is as fast as V1."""
    paths = (tmp_path / "one.json", tmp_path / "two.json")
    for path, speed in zip(paths, (3.0, 1.0), strict=True):
        made = results(rounds=9, speed=speed)
        write(to_document(made, summary=[claim.row() for claim in claims(made)]), path)
    return paths


def run(*arguments: str) -> tuple[int, str]:
    answer = CliRunner().invoke(cli, ["agree", *arguments])
    return answer.exit_code, " ".join(answer.output.split())


def test_the_command_lists_both_runs_and_says_where_they_differ(pair: tuple[Path, Path]) -> None:
    one, two = map(str, pair)
    code, said = run(one, one)
    assert code == 0
    assert "9 of 9 verdicts are the same; 0 say the opposite" in said
    assert re.search(r"end to end p50, v1-v2 [23]\.\d\dx better [23]\.\d\dx better", said)
    code, said = run(one, two)
    assert code == 1
    assert "differ" in said
    assert "of 9 verdicts are the same" in said
    same = agreement(*(json.loads(Path(path).read_text())["summary"] for path in (one, two)))
    assert f"{9 - len(same.differing)} of 9 verdicts" in said
    code, short = run(one, two, "--differing")
    assert (code, len(short) < len(said)) == (1, True)


def test_a_file_that_is_no_result_is_refused_in_a_sentence(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    code, said = run(str(pair[0]), str(other))
    assert code == 2
    assert "no es un resultado de este banco de pruebas" in said
    assert run(str(pair[0]), str(tmp_path / "none.json"))[0] == 2


def test_the_samples_of_the_second_run_may_be_elsewhere(pair: tuple[Path, Path]) -> None:
    for beside in pair[1].parent.glob("two.blocks*"):
        beside.unlink()
    assert run(*map(str, pair))[0] == 1
