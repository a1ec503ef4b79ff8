"""Fixtures that every room shares, and what is said at the end."""

import os

import pytest

from tests.ground import (
    databases,
    ground_folder,
    ollama_engine,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
    smollm2_engine,
    synthetic_engine,
)
from tests.servers.absent import ABSENT

# Here and nowhere else: a fixture that two folders import is two fixtures, with two sets of servers.
__all__ = [
    "databases",
    "ground_folder",
    "ollama_engine",
    "postgres_server",
    "postgres_url",
    "redis_server",
    "redis_url",
    "smollm2_engine",
    "synthetic_engine",
]


# A Sentinel of a test must not begin with what another one has learned.
os.environ.setdefault("SENTINEL_LIMITS_FILE", "off")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """fluido is an asyncio library: the anyio plugin runs every async test on asyncio."""
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests that were not run must not look like tests that passed."""
    for title, reason in ABSENT.items():
        skipped = [
            report for report in terminalreporter.getreports("skipped") if reason in str(report.longrepr)
        ]
        if skipped:
            terminalreporter.section(title, yellow=True, bold=True)
            terminalreporter.line(f"{len(skipped)} tests did NOT run: {reason}.", yellow=True)
