"""Runs made up: a pair of full ones, one of the default profile, one that is too short."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.claims import document, summarise
from bench.report.command import Rendered, render
from bench.report.sources import Run
from bench.report.study import Study
from bench.samples import Results, write
from tests.bench.builders import results, whole_run

ROOT = Path(__file__).parents[3]
DEFAULT = {"people", "capacity", "postgresql_turn", "redis_turn"}
"""What the default profile measures, at one load."""


def run(made: Results, name: str = "buffer_comparison_results.json") -> Run:
    """As `read_run` would give it, without the file."""
    return Run(name, "0123456789ab", made, summarise(made), {})


def part(made: Results, *, rounds: int) -> Results:
    """The default profile's experiments, at the load of the claims."""
    kept = [
        b for b in made.blocks if b.experiment in DEFAULT and (b.experiment != "people" or b.level == 0.8)
    ]
    kept = [b for b in kept if b.round < rounds]
    settings = {**made.configuration, "claims": ["people", "postgresql", "redis"]}
    return replace(made, blocks=kept, configuration=settings, timelines=[])


def on_engine(made: Results, engine: str) -> Results:
    """The same, as if another engine had answered."""
    profile = {**made.configuration["profile"], "name": f"standard, {engine}", "engine": engine}
    return replace(made, configuration={**made.configuration, "profile": profile})


@pytest.fixture(scope="session")
def full() -> Study:
    """Two runs with everything, and one on each real engine."""
    real = [run(on_engine(results(6), name), f"{name}.json") for name in ("smollm2", "ollama")]
    return Study([run(whole_run(6)), run(whole_run(6, seed=1), "second_run.json"), *real])


@pytest.fixture(scope="session")
def standard() -> Study:
    """One run of the default profile."""
    return Study([run(part(whole_run(9), rounds=9))])


@pytest.fixture(scope="session")
def quick() -> Study:
    """Three rounds: nothing can be said."""
    return Study([run(part(whole_run(3), rounds=3))])


@pytest.fixture(scope="session")
def rendered(full: Study) -> Rendered:
    return render(full)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A small run in its two files."""
    path = tmp_path / "resultado.json"
    write(document(results(6)), path)
    return path
