"""The drop-ins' tests over the versions that fluido takes: each corner in an environment of its own.

    python tests/versions/corners.py                          # every corner, some 3 minutes each
    python tests/versions/corners.py --only lowest --short    # what CI runs

A corner is a requirements file with hashes and a Python. Where this machine lacks that Python the corner runs
on the nearest that is here, and says so. Environments are made once under build/versions/.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINS = ROOT / "requirements" / "versions"
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
SHOWN = ("redis", "hiredis", "SQLAlchemy", "asyncpg", "psycopg")

POSTGRES = (
    "tests/sqlalchemy",
    "tests/cases/test_postgres_*.py",
    "tests/servers/test_pool_statements.py",
    "tests/servers/test_postgres_*.py",
)
REDIS = ("tests/redis", "tests/cases/test_redis_*.py", "tests/servers/test_redis_*.py")
# Where no connection can be shared: the same answers as the stock client, and nothing else to test.
STOCK_PATH = ("tests/versions/test_stock_path.py", "tests/cases/test_redis_versions.py")
# `bench` is no drop-in, so its tests stay out.
LEFT_OUT = ("test_postgres_bench.py", "test_redis_benchmark.py")
# The part for CI: what depends most on the private and the newer parts of both libraries.
SHORT_POSTGRES = (
    "tests/sqlalchemy",
    "tests/servers/test_postgres_writer.py",
    "tests/servers/test_postgres_stream.py",
    "tests/servers/test_postgres_pool.py",
)
SHORT_REDIS = ("tests/redis", "tests/servers/test_redis_client.py")


@dataclass(frozen=True, slots=True)
class Corner:
    """One set of versions, and the Python it is meant for."""

    name: str
    python: tuple[int, int]
    shares: bool = True
    leaves: Mapping[str, str] = field(default_factory=dict)  # a test that cannot pass there, and why

    @property
    def pins(self) -> Path:
        return PINS / f"{self.name}.txt"

    def files(self, short: bool) -> list[str]:
        patterns = SHORT_POSTGRES if short else POSTGRES
        patterns += STOCK_PATH if not self.shares else SHORT_REDIS if short else REDIS
        found = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
        return [str(path.relative_to(ROOT)) for path in found if path.name not in LEFT_OUT]


KILLED = (
    "tests/servers/test_postgres_pool.py::"
    "test_a_killed_backend_costs_one_error_and_replaces_the_generation[asyncpg]"
)
ROLLBACK = (
    "SQLAlchemy before 2.0.45 or so raises InternalClientError there, with its own pool as often as with ours"
)
CORNERS = (
    Corner("lowest", (3, 11), shares=False, leaves={KILLED: ROLLBACK}),
    Corner("sharing", (3, 12)),
    Corner("middle", (3, 13)),
    Corner("newest", (3, 14)),
)


def pythons() -> dict[tuple[int, int], str]:
    """The interpreters of this machine by version: on the PATH, of pyenv, or named by FLUIDO_PYTHONS."""
    kept = Path.home() / ".pyenv" / "versions"
    places = [*os.environ.get("FLUIDO_PYTHONS", "").split(os.pathsep), sys.executable]
    for major, minor in PYTHONS:
        places += [shutil.which(f"python{major}.{minor}") or ""]
        places += [str(path / "bin" / "python") for path in sorted(kept.glob(f"{major}.{minor}.*"))]
    found: dict[tuple[int, int], str] = {}
    ask = "import sys; print(*sys.version_info[:2])"
    for place in filter(None, places):
        said = subprocess.run([place, "-c", ask], capture_output=True, text=True, check=False)
        if said.returncode == 0:
            version = tuple(int(part) for part in said.stdout.split())
            found.setdefault((version[0], version[1]), place)
    return {version: place for version, place in found.items() if version in PYTHONS}


def nearest(wanted: tuple[int, int], found: dict[tuple[int, int], str]) -> tuple[int, int]:
    return min(found, key=lambda version: (abs(version[1] - wanted[1]), version))


def environment(corner: Corner, python: str) -> Path:
    """The corner's interpreter, with what is pinned and nothing else."""
    folder = ROOT / "build" / "versions" / corner.name
    ready = folder / "ready"
    state = hashlib.sha256(corner.pins.read_bytes() + python.encode()).hexdigest()
    inside = folder / "bin" / "python"
    if ready.exists() and ready.read_text() == state:
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    # Without pip: Debian's Python has none to put in, and ours can install into any.
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(inside)]
    subprocess.run([*pip, "install", "--quiet", "--require-hashes", "-r", str(corner.pins)], check=True)
    ready.write_text(state)
    return inside


def versions(python: Path) -> str:
    ask = "import platform; from importlib.metadata import version as v; print('Python', "
    ask += "platform.python_version()" + "".join(f", '{name}', v('{name}')" for name in SHOWN) + ")"
    return subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def run(corner: Corner, found: dict[tuple[int, int], str], short: bool, options: list[str]) -> bool:
    """Make the environment, run the tests in it; whether they pass."""
    began = time.monotonic()
    version = nearest(corner.python, found)
    python = environment(corner, found[version])
    print(f"\n== {corner.name}: {versions(python)}", flush=True)
    if version != corner.python:
        wanted, got = (".".join(map(str, pair)) for pair in (corner.python, version))
        print(f"== {corner.name}: NO PYTHON {wanted} ON THIS MACHINE, this corner runs on {got} instead")
    if not corner.shares:
        print(f"== {corner.name}: THIS redis-py SHARES NOTHING, so only its stock path is tested", flush=True)
    for test, reason in corner.leaves.items():
        print(f"== {corner.name}: LEFT OUT {test}: {reason}", flush=True)
        options = [*options, "--deselect", test]
    if short:
        print(
            f"== {corner.name}: A PART OF THE TESTS ONLY; `make test-versions` runs all of them", flush=True
        )
    made_s = time.monotonic() - began
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *corner.files(short)]
    # fluido is not installed there: for the tests that start a Python of their own
    inside = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "backend")])}
    done = subprocess.run(command, cwd=ROOT, env=inside, check=False)
    took_s = time.monotonic() - began
    state = "passed" if done.returncode == 0 else "FAILED"
    print(f"== {corner.name}: {state} in {took_s:.0f} s, of which the environment {made_s:.0f} s", flush=True)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=[corner.name for corner in CORNERS], action="append")
    parser.add_argument("--short", action="store_true", help="the part that CI runs")
    parser.add_argument("options", nargs="*", help="further arguments for pytest, after --")
    arguments = parser.parse_args()
    chosen = [corner for corner in CORNERS if not arguments.only or corner.name in arguments.only]
    found = pythons()
    passed = {corner.name: run(corner, found, arguments.short, arguments.options) for corner in chosen}
    print("\n" + ", ".join(f"{name} {'passed' if good else 'FAILED'}" for name, good in passed.items()))
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
