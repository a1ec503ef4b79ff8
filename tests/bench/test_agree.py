"""Two runs beside each other: the verdicts, the ranges of the first; a forged file is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.__main__ import cli
from bench.agree import agreement, differences
from bench.claims import document
from bench.samples import write

from .builders import results, whole_run


@pytest.fixture(scope="module")
def two() -> tuple[Any, Any]:
    return document(whole_run(5)), document(whole_run(5, seed=1))


def test_a_second_run_of_the_same_lies_in_the_ranges_of_the_first(two: tuple[Any, Any]) -> None:
    found = agreement(*two)
    assert len(found.pairs) > 100
    assert found.opposite == 0
    assert len(found.outside) < 0.3 * len(found.pairs)
    assert differences(*two) == []


def test_another_machine_and_an_incomplete_run_are_told(two: tuple[Any, Any]) -> None:
    other = {**two[1], "environment": {**two[1]["environment"], "cpu": "y"}, "complete": False}
    assert differences(two[0], other) == [
        "cpu: x in the first, y in the second",
        "the second run is not complete",
    ]


def test_the_command_compares_and_refuses(tmp_path: Path) -> None:
    runner = CliRunner()
    one, slower, same = (tmp_path / name for name in ("one.json", "slower.json", "same.json"))
    write(document(results(speed=3.0)), one)
    write(document(results(speed=3.0)), same)
    write(document(results(speed=0.5)), slower)
    assert runner.invoke(cli, ["agree", str(one), str(same)]).exit_code == 0
    contrary = runner.invoke(cli, ["agree", str(one), str(slower), "--outside"])
    assert contrary.exit_code == 1
    assert "1 claims have another verdict, 1 the opposite one" in " ".join(contrary.output.split())
    told = json.loads(one.read_text())
    told["summary"][0]["ratio"] = 99.0
    one.write_text(json.dumps(told))
    forged = runner.invoke(cli, ["agree", str(one), str(same)])
    assert forged.exit_code == 2
    assert "does not say what its blocks say" in " ".join(forged.output.split())


def test_what_there_is_to_run_is_listed_with_its_time_and_the_claims() -> None:
    said = CliRunner().invoke(cli, ["list"]).output
    assert "standard: " in said
    assert "claim 5 (faults)" in said
    assert CliRunner().invoke(cli, ["run", "nothing"]).exit_code == 2
    assert CliRunner().invoke(cli, ["run", "full", "--only", "nothing"]).exit_code == 2
