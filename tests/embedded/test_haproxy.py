"""The balancer's file is one that HAProxy takes."""

import subprocess
from pathlib import Path

import pytest

from embedded.errors import GroundError
from embedded.haproxy import Backends, configuration, program

BACKENDS = Backends(
    replicas={"replica-a": 8001, "replica-b": 8002},
    postgres={"postgres-a": (5433, 8008), "postgres-b": (5434, 8009)},
    redis={"redis-a": 6380},
    redis_password="secret",
)


def test_it_takes_the_file(tmp_path: Path) -> None:
    try:
        haproxy = program()
    except GroundError as error:
        pytest.skip(f"{error} The balancer's file is NOT checked here.")
    file = tmp_path / "haproxy.cfg"
    file.write_text(configuration(BACKENDS, web=8000, postgres=5000, redis=6379))
    done = subprocess.run([str(haproxy), "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(BACKENDS)
