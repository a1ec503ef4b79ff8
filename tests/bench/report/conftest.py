"""A real run, trimmed: its samples are thinned out, nothing else was touched."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.report.command import Rendered, default_parts, render
from bench.report.sources import Material, gather
from bench.samples import SCHEMA_VERSION

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PARTS = default_parts()


def load() -> dict[str, Any]:
    """The run as this version of the benchmark would have written it."""
    document = json.loads((HERE / "real_run.json").read_text(encoding="utf-8"))
    return {**document, "version": SCHEMA_VERSION}


@pytest.fixture
def document() -> dict[str, Any]:
    return load()


@pytest.fixture
def result(tmp_path: Path, document: dict[str, Any]) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """The run with every component file, read once."""
    path = tmp_path_factory.mktemp("material") / "result.json"
    path.write_text(json.dumps(load()), encoding="utf-8")
    return gather(path, PARTS)


@pytest.fixture(scope="session")
def rendered(material: Material) -> Rendered:
    """The documents of `material`, made once."""
    return render(material)
