"""redis-py's own asyncio suite against the stock client and against ours: the failures must be the same.

    python tests/conformance/redis_suite.py                 # RESP3, RESP2, uvloop: some 15 minutes
    python tests/conformance/redis_suite.py --only resp3 --part quick

The source archive is fetched once with pip, by its hash, into the user's cache; nothing of it is committed.
Left out: what needs a cluster, modules, packages we do not have or a cloud account. `redis_plugin.py` beside
this file swaps the class before the suite imports it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from archive import SourceArchive

import embedded

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONFIGURATIONS = {"resp3": [], "resp2": ["--protocol", "2"], "uvloop": ["--uvloop"]}
LEFT_OUT = ("*cluster*", "test_bloom.py", "test_json.py", "test_search.py", "test_timeseries.py")
NEEDS_MORE = ("test_multidb", "test_scenario", "test_credentials.py")  # pybreaker, redis-entraid, a cloud
ALONE = "test_cwe_404.py"  # listens on a fixed port
QUICK = ("test_pipeline.py", "test_scripting.py", "test_encoding.py", "test_retry.py", "test_connect.py")
MARKERS = "fixed_client redismod pipeline onlycluster onlynoncluster ssl asyncio replica experimental".split()  # noqa: SIM905
MARKERS += ["cp_integration", "no_mock_connections", "multidb_integration"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of the suite: the result of every test, and the counts of the shared connections."""

    results: dict[str, str]
    counts: dict[str, int]

    @property
    def failures(self) -> set[str]:
        return {name for name, result in self.results.items() if result == "failed"}


def results_of(report: Path) -> dict[str, str]:
    """What pytest wrote into `report`: passed, failed or skipped, by test."""
    results = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # pytest wrote it a moment ago
        marks = {child.tag for child in case}
        result = "failed" if marks & {"failure", "error"} else "skipped" if "skipped" in marks else "passed"
        results[f"{case.get('classname')}::{case.get('name')}"] = result
    return results


def _keeps(path: str) -> bool:
    return path.startswith("tests/") and not any(name in path for name in NEEDS_MORE)


def _finish(part: Path) -> None:
    lines = [
        "[pytest]",
        "asyncio_mode = auto",
        "asyncio_default_fixture_loop_scope = function",
        "timeout = 60",
    ]
    lines += ["markers =", *(f"    {marker}:" for marker in MARKERS)]
    (part / "pytest.ini").write_text("\n".join(lines) + "\n")


SUITE = SourceArchive(
    "redis-py",
    HERE / "redis-py.txt",
    ("--no-binary", ":all:", "--no-build-isolation"),
    _keeps,
    _finish,
)


class Run:
    """One process of pytest over the suite, for one client, with a server of its own."""

    def __init__(self, client: str, files: list[str], options: list[str], folder: Path) -> None:
        self.report = folder / "report.xml"
        self.counts = folder / "counts.json"
        self.server = embedded.Redis(folder, password="")
        self.server.start()
        ignore = [f"--ignore-glob=tests/test_asyncio/{pattern}" for pattern in LEFT_OUT]
        command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "-q", "-p", "redis_plugin"]
        command += ["-p", "no:cacheprovider", "-p", "no:anyio", "--junitxml", str(self.report)]
        command += ["--redis-url", self.server.url(), *ignore, *options, *files]
        environment = {
            **os.environ,
            "FLUIDO_CLIENT": client,
            "FLUIDO_COUNTS": str(self.counts),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(HERE)]),
        }
        self.log = (folder / "log.txt").open("w")
        self.process = subprocess.Popen(
            command, cwd=SUITE.folder(), env=environment, stdout=self.log, stderr=subprocess.STDOUT
        )

    def finish(self) -> Outcome:
        """Wait for the end and read the report."""
        try:
            self.process.wait()
        finally:
            self.process.kill()
            self.log.close()
            self.server.stop()
        counts = json.loads(self.counts.read_text()) if self.counts.exists() else {}
        return Outcome(results_of(self.report), counts)


def both(files: list[str], options: list[str], *, at_once: bool) -> tuple[Outcome, Outcome]:
    """The suite with the stock client and with ours."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        stock = Run("stock", files, options, Path(first))
        if at_once:
            ours = Run("ours", files, options, Path(second))
            return stock.finish(), ours.finish()
        done = stock.finish()
        return done, Run("ours", files, options, Path(second)).finish()


def compare(name: str, part: str) -> bool:
    """Run one configuration and print what differs; whether nothing does."""
    options = CONFIGURATIONS[name]
    if part == "quick":
        files = [f"tests/test_asyncio/{file}" for file in QUICK]
        pairs = [both(files, options, at_once=True)]
    else:
        main = ["tests/test_asyncio", f"--ignore=tests/test_asyncio/{ALONE}"]
        pairs = [
            both(main, options, at_once=True),
            both([f"tests/test_asyncio/{ALONE}"], options, at_once=False),
        ]
    stock = {test: result for pair in pairs for test, result in pair[0].results.items()}
    ours = {test: result for pair in pairs for test, result in pair[1].results.items()}
    counts: Counter[str] = sum((Counter(pair[1].counts) for pair in pairs), Counter())
    differing = {test for test in stock.keys() | ours.keys() if stock.get(test) != ours.get(test)}
    print(f"{name}: stock {dict(Counter(stock.values()))}, ours {dict(Counter(ours.values()))}")
    print(f"{name}: {counts['shared']} commands over {counts['opened']} shared connections")
    for test in sorted(differing):
        print(f"  {test}: stock {stock.get(test)}, ours {ours.get(test)}")
    print(f"{name}: {'the same' if not differing else 'NOT the same'}", flush=True)
    return not differing and counts["shared"] > 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=CONFIGURATIONS, action="append")
    parser.add_argument("--part", choices=["all", "quick"], default="all")
    arguments = parser.parse_args()
    same = [compare(name, arguments.part) for name in arguments.only or CONFIGURATIONS]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
