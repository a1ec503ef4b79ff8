"""Fixtures that every room shares."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """fluido is an asyncio library: the anyio plugin runs every async test on asyncio."""
    return "asyncio"
