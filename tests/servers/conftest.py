"""Tests on real servers (`tests/ground.py`)."""

from pathlib import Path

import pytest

from embedded.ollama import built
from tests.servers.absent import NO_OLLAMA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.servers)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("ollama") is not None and built() is None:
        pytest.skip(NO_OLLAMA)
