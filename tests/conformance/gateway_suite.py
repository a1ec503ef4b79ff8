"""Clients' own suites directly and with the gateway in the middle: no test may be worse (design: G12).

    python tests/conformance/gateway_suite.py                 # some 10 minutes
    python tests/conformance/gateway_suite.py --only ollama   # openai, langchain, integration

ollama-python's client tests compare each request's body with a fake server of their own; openai-python's run
against the embedded llama.cpp, langchain-tests' and Ollama's own integration tests (in Go) against the real
Ollama where it is built. The archives are fetched once with pip, by their hashes, into the user's cache; the
clients live in build/gateway-suites.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from archive import SourceArchive
from gateway import ollama_integration
from redis_suite import results_of

import embedded
from embedded.engine import EngineOptions
from embedded.model import smollm2
from embedded.ollama import built

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "gateway-suites"
PINS = ROOT / "requirements" / "gateway-suites.txt"
WAIT_S, TRIES = 1500.0, 2
SETTINGS = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = session
timeout = 120
"""
OPENAI_TESTS = ("chat/test_completions.py", "test_completions.py", "test_models.py", "test_embeddings.py")


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests of one client. `by_design` names those that are answered otherwise on purpose, and why."""

    name: str
    tests: Sequence[str]
    engine: str = ""
    by_design: dict[str, str] = field(default_factory=dict)


BROKEN = "its fake server ends the stream without `done`: told as an error, for half an answer is no answer"
SUITES = (
    Suite(
        "ollama",
        ["tests/test_client.py"],
        by_design={
            f"{way}_{what}_stream": BROKEN
            for way in ("test_client", "test_async_client")
            for what in ("chat", "generate")
        },
    ),
    Suite("openai", [f"tests/api_resources/{name}" for name in OPENAI_TESTS], "llamacpp"),
    Suite("langchain", ["langchain_units.py"], "ollama"),
    Suite("integration", ollama_integration.PLAIN, "ollama"),
)


def python() -> Path:
    """The interpreter of an environment with the clients, made once."""
    folder = BUILD
    ready = folder / "ready"
    if not ready.exists() or ready.read_text() != PINS.read_text():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        subprocess.run([*pip, "--require-hashes", "-r", str(PINS)], check=True)
        ready.write_text(PINS.read_text())
    return folder / "bin" / "python"


@contextmanager
def engine(kind: str) -> Iterator[tuple[str, str]]:
    """The address of an engine with SmolLM2, and its model."""
    if not kind:
        yield "", ""
        return
    with tempfile.TemporaryDirectory() as folder:
        make = embedded.Ollama if kind == "ollama" else embedded.Engine
        server = make(Path(folder), smollm2(), EngineOptions(threads=1, slots=2))
        server.start()
        try:
            yield server.url, server.model.name
        finally:
            server.stop()


@contextmanager
def gateway(url: str) -> Iterator[str]:
    """A gateway in front of an engine."""
    port = 20000 + os.getpid() % 20000
    command = [sys.executable, "-m", "fluido", "gateway", "--engine", url, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            try:
                with urllib.request.urlopen(f"{address}/api/version", timeout=5):  # noqa: S310
                    break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def run(suite: Suite, way: str, url: str, model: str, only: str = "") -> dict[str, str]:
    """One run: the result of each test."""
    if suite.name == "integration":
        made = ollama_integration.program(BUILD)
        return ollama_integration.results(made, url, model, only) if made is not None else {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if suite.name == "langchain":
            shutil.copy(HERE / "gateway" / "langchain_units.py", folder)
        else:
            pins = HERE / "gateway" / f"{suite.name}.txt"
            source = SourceArchive(suite.name, pins, ("--no-binary", suite.name), _is_test, lambda _: None)
            shutil.copytree(source.folder() / "tests", folder / "tests")
        (folder / "pytest.ini").write_text(SETTINGS)
        report = folder / "report.xml"
        command = [str(python()), "-m", "pytest", "-c", "pytest.ini", "-q", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}", *suite.tests, *(["-k", only] if only else [])]
        environment = {
            **os.environ,
            "GATEWAY_PYTHON": sys.executable,
            "GATEWAY_URL": url,
            "GATEWAY_MODEL": model,
            "TEST_API_BASE_URL": f"{url}/v1",
            "PYTHONPATH": str(HERE / "gateway"),
        }
        if suite.name == "ollama" and way == "through":
            command += ["-p", "middle_plugin"]
        log = folder / "log.txt"
        with log.open("w") as out:
            subprocess.run(
                command, cwd=folder, env=environment, stdout=out, stderr=out, timeout=WAIT_S, check=False
            )
        if not report.exists():
            raise SystemExit(log.read_text()[-4000:])
        return results_of(report)


def compare(suite: Suite) -> bool:
    """Run one suite both ways and print what differs; whether no test is worse."""
    if suite.engine == "ollama" and built() is None:
        print(f"{suite.name}: NOT RUN, the real Ollama is not built: `make ollama`", flush=True)
        return True
    if suite.name == "integration" and shutil.which("go") is None:
        print(f"{suite.name}: NOT RUN, there is no Go here", flush=True)
        return True
    with engine(suite.engine) as (url, model):
        if suite.name == "integration":
            ollama_integration.name_model(url, model)
        direct = run(suite, "directly", url, model)
        if suite.engine:
            with gateway(url) as address:
                through = run(suite, "through", address, model)
                worse = _worse(direct, through)
                for _ in range(TRIES):
                    if worse:
                        names = " or ".join(sorted({_plain(test) for test in worse}))
                        worse &= _worse(
                            run(suite, "directly", url, model, names),
                            run(suite, "through", address, model, names),
                        )
        else:
            through = run(suite, "through", url, model)
            worse = _worse(direct, through)
    sums = [dict(Counter(results.values())) for results in (direct, through)]
    print(f"{suite.name}: directly {sums[0]}, through the gateway {sums[1]}")
    wanted = {test for test in worse if _plain(test) in suite.by_design}
    for test in sorted(worse):
        print(f"  {test}: {suite.by_design.get(_plain(test), 'WORSE')}")
    print(f"{suite.name}: {len(worse - wanted)} tests worse, {len(wanted)} otherwise by design", flush=True)
    return worse == wanted and "passed" in through.values()


def _is_test(path: str) -> bool:
    return path.startswith("tests/")


def _plain(test: str) -> str:
    return test.rpartition("::")[2].partition("[")[0].partition("/")[0]


def _worse(direct: dict[str, str], through: dict[str, str]) -> set[str]:
    return {test for test, result in direct.items() if result == "passed" and through.get(test) != "passed"}


def main() -> int:
    """Every suite, or the one that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=[suite.name for suite in SUITES], action="append")
    arguments = parser.parse_args()
    same = [compare(suite) for suite in SUITES if not arguments.only or suite.name in arguments.only]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
