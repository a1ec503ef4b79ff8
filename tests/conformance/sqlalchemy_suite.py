"""SQLAlchemy's own pool, engine and asyncio tests against its pool and against ours: the same must pass.

    python tests/conformance/sqlalchemy_suite.py                 # pool, asyncpg, psycopg
    python tests/conformance/sqlalchemy_suite.py --only pool
    python tests/conformance/sqlalchemy_suite.py --release 2.0   # that release, in an environment of its own

The source archive is fetched once with pip, by its hash, into the user's cache; nothing of it is committed.
`sqlalchemy_plugin.py` beside this file swaps the pools and names every test that does not apply, with its
reason; whatever else differs between the two runs is a failure.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from archive import SourceArchive

import embedded
from embedded.folder import DataFolder

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT / "tests" / "versions"))
POOL = ("test/engine/test_pool.py",)
ENGINE = (
    "test/ext/asyncio",
    "test/engine/test_transaction.py",
    "test/engine/test_execute.py",
    "test/engine/test_reconnect.py",
)
CONFIGURATIONS = {"pool": POOL, "asyncpg": ENGINE, "psycopg": ENGINE}
DRIVERS = {"asyncpg": "+asyncpg", "psycopg": "+psycopg_async"}
KEPT = ("test/", "lib/sqlalchemy/testing/plugin/", "setup.cfg")
# What the suite expects of its database.
SCHEMAS = ("CREATE SCHEMA test_schema", "CREATE SCHEMA test_schema_2")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of the suite: the result of every test, and the counts of what went through fluido."""

    results: dict[str, str]
    counts: dict[str, int]


def _finish(part: Path) -> None:
    # conftest.py puts `lib` in front of the path; what is tested is the SQLAlchemy that is installed.
    (part / "lib").rename(part / "plugin-only")
    conftest = part / "test" / "conftest.py"
    conftest.write_text(conftest.read_text().replace('"lib",', '"plugin-only",'))
    (part / "pytest.ini").write_text("[pytest]\npython_files = test_*.py\nmarkers =\n" + _markers())


def _markers() -> str:
    names = ("memory_intensive", "mypy", "timing_intensive", "sparse_driver_backend", "aio", "backend")
    return "".join(f"    {name}:\n" for name in (*names, "sparse_backend", "gc_intensive"))


@dataclass(frozen=True, slots=True)
class Release:
    """One release of SQLAlchemy: its own tests, and the interpreter that has it."""

    suite: SourceArchive
    python: Callable[[], Path]


def _release(pins: str, python: Callable[[], Path]) -> Release:
    # Not `:all:`: pip builds the archive's metadata, and takes the tools for that as wheels.
    options = ("--no-binary", "sqlalchemy")
    suite = SourceArchive("sqlalchemy", HERE / pins, options, lambda path: path.startswith(KEPT), _finish)
    return Release(suite, python)


def _corner() -> Path:
    """The corner of `make test-versions` that has the newest 2.0."""
    corners = importlib.import_module("corners")
    found = corners.pythons()
    corner = next(corner for corner in corners.CORNERS if corner.name == "sharing")
    python: Path = corners.environment(corner, found[corners.nearest(corner.python, found)])
    return python


RELEASES = {
    "2.1": _release("sqlalchemy.txt", lambda: Path(sys.executable)),
    "2.0": _release("sqlalchemy-2.0.txt", _corner),
}


def run(name: str, pool: str, release: Release) -> Outcome:
    """One process of pytest over the tests of one configuration, with a server of its own."""
    data = DataFolder(None)
    folder = data.take()
    server = embedded.Postgres(folder, durable=False, settings={"max_prepared_transactions": "20"})
    report, counts = folder / "report.xml", folder / "counts.json"
    command = [str(release.python()), "-m", "pytest", "-c", "pytest.ini", "-q", "-p", "sqlalchemy_plugin"]
    command += ["-p", "no:cacheprovider", "-p", "no:anyio", "-p", "no:asyncio", "--junitxml", str(report)]
    environment = {
        **os.environ,
        "FLUIDO_POOL": pool,
        "FLUIDO_COUNTS": str(counts),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(HERE)]),
    }
    try:
        if name in DRIVERS:
            server.start()
            for statement in SCHEMAS:
                server.query(statement)
            command += ["--dburi", server.url(driver=DRIVERS[name])]
        command += CONFIGURATIONS[name]
        with (folder / "log.txt").open("w") as log:
            subprocess.run(
                command, cwd=release.suite.folder(), env=environment, stdout=log, stderr=log, check=False
            )
        if not report.exists():
            raise SystemExit((folder / "log.txt").read_text()[-4000:])
        return Outcome(_results(report), json.loads(counts.read_text()) if counts.exists() else {})
    finally:
        server.stop()
        data.release()


def _results(report: Path) -> dict[str, str]:
    """`skipped by fluido` is told from what the suite skips by itself."""
    results = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # pytest wrote it a moment ago
        found = {child.tag: child.get("message") or "" for child in case}
        if found.keys() & {"failure", "error"}:
            result = "failed"
        elif "skipped" in found:
            result = "excepted" if found["skipped"].startswith("fluido: ") else "skipped"
        else:
            result = "passed"
        results[f"{case.get('classname')}::{case.get('name')}"] = result
    return results


def compare(name: str, release: Release) -> bool:
    """Run one configuration and print what differs; whether nothing does but the stated exceptions."""
    stock, ours = run(name, "stock", release), run(name, "ours", release)
    print(
        f"{name}: stock {dict(Counter(stock.results.values()))}, ours {dict(Counter(ours.results.values()))}"
    )
    print(f"{name}: {ours.counts.get('checkouts', 0)} checkouts and {ours.counts.get('samples', 0)} samples")
    tests = stock.results.keys() | ours.results.keys()
    excepted = {test for test in tests if ours.results.get(test) == "excepted"}
    differing = {test for test in tests - excepted if stock.results.get(test) != ours.results.get(test)}
    for test in sorted(differing):
        print(f"  {test}: stock {stock.results.get(test)}, ours {ours.results.get(test)}")
    state = "NOT the same" if differing else f"the same but for {len(excepted)} that do not apply"
    print(f"{name}: {state}", flush=True)
    return not differing and ours.counts.get("checkouts", 0) > 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=CONFIGURATIONS, action="append")
    parser.add_argument("--release", choices=RELEASES, default="2.1")
    arguments = parser.parse_args()
    release = RELEASES[arguments.release]
    same = [compare(name, release) for name in arguments.only or CONFIGURATIONS]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
