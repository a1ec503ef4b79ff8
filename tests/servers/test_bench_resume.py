"""A benchmark that is killed leaves no process behind, and another one goes on where it stopped."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from bench.samples import from_document, read

pytestmark = pytest.mark.runs
ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from rich.console import Console
from bench.command import compare_arms
from bench.experiments.people import Capacity, People
from bench.profiles import QUICK

capacity = Capacity(("v1", "v2"), rounds=1, block_s=2.0, people=40)
people = People("people", ("v1", "v2"), (0.5,), rounds=3, block_s=0.5, warm_s=0.3)
profile = replace(QUICK, budget_s=200.0, experiments=(capacity, people))
path = Path(sys.argv[1])
resume = sys.argv[2] == "resume"
compare_arms(profile, Console(), resume=resume, results_path=path, graphs_path=path.with_suffix(".png"))
"""
PATIENCE_S = 240.0


def run(path: Path, how: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path), how],
        env={
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'backend'}",
            "PATH": "/usr/bin:/bin",
            "HOME": str(Path.home()),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def chat_rounds(journal: Path) -> int:
    lines = journal.read_text().splitlines() if journal.exists() else []
    return sum('"experiment": "people"' in line and '"warm_up": false' in line for line in lines) // 2


def command(process: psutil.Process) -> str:
    """Empty for one that has ended: arms are brought up anew between rounds."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_killed_run_is_cleaned_up_and_resumed(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    journal = path.with_suffix(".partial.jsonl")
    first = run(path, "begin")
    until = time.monotonic() + PATIENCE_S
    while chat_rounds(journal) < 1 and time.monotonic() < until and first.poll() is None:
        time.sleep(0.05)
    before = chat_rounds(journal)
    family: list[psutil.Process] = []
    while not any("uvicorn" in command(child) for child in family) and time.monotonic() < until:
        family = psutil.Process(first.pid).children(recursive=True)
    assert any("uvicorn" in command(child) for child in family)
    first.kill()
    first.communicate()
    assert 1 <= before < 3
    _, alive = psutil.wait_procs(family, timeout=20.0)
    assert alive == []

    second = run(path, "resume")
    said, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, said
    assert "Going on:" in said
    results = from_document(read(path))
    assert results.complete
    # The capacity of the first run is the one that all loads are shares of.
    assert len([b for b in results.blocks if b.experiment == "capacity"]) == 2
    measured = [b for b in results.blocks if b.experiment == "people" and not b.warm_up]
    assert len({block.incarnation for block in measured}) == 3
    counted = Counter((block.arm, block.round) for block in measured)
    assert counted == {(arm, number): 1 for arm in ("v1", "v2") for number in range(3)}
    assert not journal.exists()
    assert path.with_suffix(".png").stat().st_size > 5_000
