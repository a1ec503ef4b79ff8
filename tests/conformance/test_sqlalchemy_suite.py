"""The part of SQLAlchemy's suite that fits CI; `make conformance-sqlalchemy` runs the rest as well."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.conformance
def test_the_pools_own_tests_pass_but_for_the_stated_exceptions() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("sqlalchemy_suite.py")), "--only", "pool"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
