"""Other projects' suites with redis-py's client and with ours in one run: no test may be worse.

    python tests/conformance/others_suite.py                      # some 5 minutes
    python tests/conformance/others_suite.py --only channels_redis
    python tests/conformance/others_suite.py --only taskiq-redis --sources ../taskiq-redis

The source archives are fetched once with pip, by their hashes, into the user's cache; nothing of them is
committed. Two projects publish no tests: their suites run where a clone is given by `--sources`. Both clients
run at the same time, each with a server of its own, under redis-py of requirements/others.txt whatever the
project pins. A test that passes with stock only is repeated alone, twice: it counts when it fails each time.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archive import SourceArchive
from redis_suite import Outcome, results_of

import embedded

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PINS = ROOT / "requirements" / "others.txt"
TRIES = 2
WAIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Suite:
    """One project's tests: which of them concern Redis, and what its archive leaves out."""

    name: str
    tests: Sequence[str]
    published: bool = True
    options: Sequence[str] = ()
    settings: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    support: dict[str, str] = field(default_factory=dict)

    def sources(self, given: Path | None) -> Path | None:
        """Where the tests are: a clone, or the archive; None when the project publishes none."""
        if given is not None:
            return given
        return _archive(self.name).folder() if self.published else None


SUITES = (
    Suite("arq", ["tests"], settings=["filterwarnings = ignore"]),
    Suite(
        "saq",
        ["tests/test_queue.py", "tests/test_worker.py", "tests/test_job.py"],
        support={"saq_helpers.py": "tests/helpers.py"},
    ),
    Suite(
        "limits",
        ["tests/aio/storage/test_redis.py", "tests/aio/test_strategy.py"],
        options=["-m", "redis"],
        environment={"ASYNC_REDIS_IMPLEMENTATION": "redispy"},
    ),
    Suite(
        "aiocache", ["tests/acceptance", "tests/ut/backends/test_redis.py"], options=["-k", "not memcached"]
    ),
    Suite("channels_redis", ["tests/test_core.py", "tests/test_pubsub.py"], options=["-p", "no:django"]),
    Suite(
        "cashews",
        ["tests/test_tags_feature.py", "tests/test_transaction.py"],
        support={"cashews_conftest.py": "tests/conftest.py"},
    ),
    Suite("taskiq-redis", ["tests"], published=False, options=["-k", "not cluster and not sentinel"]),
    Suite(
        "langgraph-checkpoint-redis",
        [
            "tests/test_async.py",
            "tests/test_async_aget_tuple_checkpoint_id.py",
            "tests/test_async_search_limit.py",
            "tests/test_async_shallow_checkpoint_write_ttl.py",
            "tests/test_async_ttl_synchronization.py",
        ],
        published=False,
    ),
)


def _archive(name: str) -> SourceArchive:
    pins = HERE / "others" / f"{name}.txt"
    return SourceArchive(
        name, pins, ("--no-binary", name), lambda path: path.startswith("tests/"), lambda _: None
    )


def python() -> Path:
    """The interpreter of an environment with what the suites need, made once."""
    folder = ROOT / "build" / "others"
    ready = folder / "ready"
    if not ready.exists() or ready.read_text() != PINS.read_text():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--python",
            str(folder / "bin/python"),
        ]
        # Without dependencies: some projects pin an older redis-py than the one that all are tried with.
        subprocess.run([*pip, "install", "-q", "--no-deps", "--require-hashes", "-r", str(PINS)], check=True)
        ready.write_text(PINS.read_text())
    return folder / "bin" / "python"


class Run:
    """One process of pytest over a suite, for one client, with a server of its own."""

    def __init__(
        self, suite: Suite, client: str, sources: Path, tests: Sequence[str], port: int | None
    ) -> None:
        self._end = ExitStack()
        self.folder = Path(self._end.enter_context(tempfile.TemporaryDirectory()))
        shutil.copytree(sources / "tests", self.folder / "tests")
        for ours, theirs in suite.support.items():
            shutil.copy(HERE / "others" / ours, self.folder / theirs)
        settings = ["[pytest]", "asyncio_mode = auto", "asyncio_default_fixture_loop_scope = function"]
        settings += ["timeout = 60", *suite.settings, "markers =", *(f"    {mark}:" for mark in MARKERS)]
        (self.folder / "pytest.ini").write_text("\n".join(settings) + "\n")
        if port is None:
            server = embedded.Redis(self.folder, password="")
            server.start()
            self._end.callback(server.stop)
            port = server.port
        self.report, self.counts = self.folder / "report.xml", self.folder / "counts.json"
        command = [
            str(python()),
            "-m",
            "pytest",
            "-c",
            "pytest.ini",
            "-q",
            "-p",
            "redis_plugin",
            "-p",
            "others_plugin",
        ]
        command += ["-p", "no:cacheprovider", f"--junitxml={self.report}", *suite.options, *tests]
        environment = {
            **os.environ,
            **suite.environment,
            "FLUIDO_CLIENT": client,
            "FLUIDO_COUNTS": str(self.counts),
            "OTHERS_PORT": str(port),
            "TEST_REDIS_URL": f"redis://127.0.0.1:{port}",
            # A clone has the project's own code as well.
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(HERE), str(sources)]),
        }
        log = self._end.enter_context((self.folder / "log.txt").open("w"))
        self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self._end.callback(self.process.kill)

    def finish(self) -> Outcome:
        """Wait for the end and read the report."""
        with self._end:
            self.process.wait(WAIT_S)
            if not self.report.exists():
                raise SystemExit((self.folder / "log.txt").read_text()[-4000:])
            counts = json.loads(self.counts.read_text()) if self.counts.exists() else {}
            return Outcome(results_of(self.report), counts)


MARKERS = "redis redis_cluster redis_sentinel memcached unit integration memory mongodb valkey".split()  # noqa: SIM905
MARKERS += ["valkey_cluster", "requires_api_keys", "sentinel", "flaky", "benchmark"]


def both(suite: Suite, sources: Path, tests: Sequence[str], port: int | None) -> tuple[Outcome, Outcome]:
    """The suite with both clients: at once, or one after the other on a server that was given."""
    stock = Run(suite, "stock", sources, tests, port)
    if port is not None:
        done = stock.finish()
        return done, Run(suite, "ours", sources, tests, port).finish()
    ours = Run(suite, "ours", sources, tests, port)
    return stock.finish(), ours.finish()


def compare(suite: Suite, sources: Path, port: int | None) -> bool:
    """Run one suite and print what differs; whether no test is worse."""
    began = time.monotonic()
    stock, ours = both(suite, sources, suite.tests, port)
    sums = [dict(Counter(outcome.results.values())) for outcome in (stock, ours)]
    print(f"{suite.name}: stock {sums[0]}, ours {sums[1]}")
    worse = _worse(stock, ours)
    better = {
        test
        for test in ours.results
        if ours.results[test] == "passed" and stock.results.get(test) == "failed"
    }
    for _ in range(TRIES):
        if worse:
            names = {test.rpartition("::")[2].partition("[")[0] for test in worse}
            again = [*suite.tests, "-k", " or ".join(sorted(names))]
            worse &= _worse(*both(suite, sources, again, port))
    for test in sorted(better):
        print(f"  {test}: fails with stock, passes with ours")
    for test in sorted(worse):
        print(f"  {test}: WORSE: passes with stock, fails with ours, {1 + TRIES} of {1 + TRIES}")
    shared = ours.counts.get("shared", 0)
    took_s = time.monotonic() - began
    print(f"{suite.name}: {shared} commands shared, {len(worse)} tests worse, {took_s:.0f} s", flush=True)
    return not worse and shared > 0 and "passed" in ours.results.values()


def _worse(stock: Outcome, ours: Outcome) -> set[str]:
    return {
        test
        for test, result in stock.results.items()
        if result == "passed" and ours.results.get(test) != "passed"
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=[suite.name for suite in SUITES], action="append")
    parser.add_argument("--sources", type=Path, help="a clone of the one suite that --only names")
    parser.add_argument("--port", type=int, help="a server on loopback to use, which the suite may empty")
    arguments: Any = parser.parse_args()
    if arguments.sources is not None and len(arguments.only or ()) != 1:
        parser.error("--sources is a clone of one project: name it with --only")
    same = []
    for suite in SUITES:
        if arguments.only and suite.name not in arguments.only:
            continue
        sources = suite.sources(arguments.sources)
        if sources is None:
            print(f"{suite.name}: NOT RUN, its archive has no tests: give a clone by --sources", flush=True)
        else:
            same.append(compare(suite, sources, arguments.port))
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
