"""Figures of both READMEs that come from a committed measurement: number, commit and state of the tree.

Those of the reference run are rendered, and held to it by tests/bench/report.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from bench.statistics import Mean, compare
from tests.docs.markdown import ROOT

RESULTS = ROOT / "docs" / "results"


@dataclass(frozen=True, slots=True)
class Cited:
    """`rows`: how its row begins in English and in Spanish; `take`: ratio, low and high from the file."""

    rows: tuple[str, str]
    file: str
    take: Callable[[dict[str, Any]], Sequence[float]]
    shape: str


def one_get(document: dict[str, Any]) -> Sequence[float]:
    [row] = [r for r in document["rows"] if (r["cell"], r["client"]) == ("GET 64 B, 1 tasks", "redis-py")]
    found: Sequence[float] = row["calls_per_s_ratio"]
    return found


def waiting(document: dict[str, Any]) -> Sequence[float]:
    blocks = {
        row["arm"]: row["blocks"]
        for row in document["measured"]
        if (row["experiment"], row["metric"]) == ("waiting 100 on 10", "wait p99 ms")
    }
    found = compare(blocks["SQLAlchemy"], blocks["fluido fixed"], Mean(), seed=1)
    return (found.ratio, found.low, found.high)


CITED = (
    Cited(
        ("one GET at a time", "un GET a la vez"),
        "redis/redis-uvloop.json",
        one_get,
        "{0:.1f} ({1:.1f}-{2:.1f})",
    ),
    Cited(
        ("wait for a connection, 100 tasks on 10", "espera por una conexión, 100 tareas sobre 10"),
        "postgres/components.json",
        waiting,
        "{0:.1f}",
    ),
)


@pytest.mark.parametrize("cited", CITED, ids=lambda cited: cited.file)
@pytest.mark.parametrize("language", [0, 1], ids=["en", "es"])
def test_a_figure_is_the_one_that_was_measured(cited: Cited, language: int) -> None:
    page = ROOT / ("README.md", "README.es.md")[language]
    document = json.loads((RESULTS / cited.file).read_text(encoding="utf-8"))
    lines = page.read_text(encoding="utf-8").splitlines()
    [row] = [line for line in lines if line.startswith(f"| {cited.rows[language]}")]
    number = cited.shape.format(*cited.take(document))
    assert f"| {number.replace('.', ',') if language else number} |" in row
    environment = document["environment"]
    assert environment["commit"][:7] in row
    assert bool(environment["dirty"]) == (("local changes", "cambios locales")[language] in row)
