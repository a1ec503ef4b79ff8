"""One PostgreSQL, one Redis and one engine for the whole test session; a fresh database for every test."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
import redis

import embedded
from embedded.folder import DataFolder
from embedded.model import smollm2
from embedded.ollama import built
from embedded.synthetic import synthetic
from tests.servers.absent import ABSENT, NO_OLLAMA

NUMBERS = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.servers)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("ollama") is not None and built() is None:
        pytest.skip(NO_OLLAMA)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests that were not run must not look like tests that passed."""
    for title, reason in ABSENT.items():
        skipped = [
            report for report in terminalreporter.getreports("skipped") if reason in str(report.longrepr)
        ]
        if skipped:
            terminalreporter.section(title, yellow=True, bold=True)
            terminalreporter.line(f"{len(skipped)} tests did NOT run: {reason}.", yellow=True)


@pytest.fixture(scope="session")
def ground_folder() -> Iterator[Path]:
    data = DataFolder(None)
    try:
        yield data.take()
    finally:
        data.release()


@pytest.fixture(scope="session")
def postgres_server(ground_folder: Path) -> Iterator[embedded.Postgres]:
    """The server itself, for tests that need its settings or its port. Not to be stopped: make your own."""
    server = embedded.Postgres(ground_folder, durable=False)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.forget()


@pytest.fixture
def postgres_url(postgres_server: embedded.Postgres) -> Iterator[str]:
    """`postgresql+asyncpg://...` of an empty database that this test has for itself."""
    name = f"test_{next(NUMBERS)}"
    with psycopg.connect(postgres_server.url(driver=""), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield postgres_server.url(database=name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def redis_server(ground_folder: Path) -> Iterator[embedded.Redis]:
    server = embedded.Redis(ground_folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_url(redis_server: embedded.Redis) -> str:
    """`redis://:secret@...` of a server that was emptied for this test."""
    with redis.Redis.from_url(redis_server.url()) as link:
        link.flushall()
    return redis_server.url()


@pytest.fixture(scope="session")
def smollm2_engine(ground_folder: Path) -> Iterator[embedded.Engine]:
    """llama.cpp's server with real weights: for the few tests that need sense in the answer."""
    server = embedded.Engine(ground_folder, smollm2(), folder="smollm2")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def synthetic_engine(ground_folder: Path) -> Iterator[embedded.Engine]:
    """llama.cpp's server with random weights: ten times cheaper, the same for whoever schedules it."""
    server = embedded.Engine(ground_folder, synthetic(), folder="synthetic")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def ollama_engine(ground_folder: Path) -> Iterator[embedded.Ollama]:
    """The real Ollama with the synthetic model, for tests with the marker `ollama`."""
    server = embedded.Ollama(ground_folder, synthetic())
    try:
        server.start()
        yield server
    finally:
        server.stop()
