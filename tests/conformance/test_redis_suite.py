"""The part of redis-py's suite that fits CI. `make conformance` runs all of it, in three configurations."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.conformance
@pytest.mark.parametrize("configuration", ["resp3", "resp2", "uvloop"])
def test_stock_and_ours_fail_in_the_same_tests(configuration: str) -> None:
    command = [sys.executable, str(Path(__file__).with_name("redis_suite.py")), "--part", "quick"]
    done = subprocess.run(
        [*command, "--only", configuration],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
