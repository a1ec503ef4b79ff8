"""A scripted assistant behind the real API, and a real server around it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.api import create_app
from app.core.ports import DependencyHealth
from app.core.settings import Settings
from tests.app.scripted import ScriptedSystem
from tests.app.serving import served


@pytest.fixture
def settings() -> Settings:
    return Settings(host="127.0.0.1", port=8000)


@pytest.fixture(scope="module")
async def served_system() -> AsyncIterator[tuple[ScriptedSystem, httpx.AsyncClient]]:
    """One server for a whole module: starting and stopping uvicorn costs a quarter of a second."""
    system = ScriptedSystem()
    async with served(create_app(system, Settings())) as client:
        yield system, client


@pytest.fixture
def system(served_system: tuple[ScriptedSystem, httpx.AsyncClient]) -> ScriptedSystem:
    system = served_system[0]
    system.requests.clear()
    system.dependencies = [DependencyHealth("postgresql", True, True, "answers")]
    return system


@pytest.fixture
def client(served_system: tuple[ScriptedSystem, httpx.AsyncClient]) -> httpx.AsyncClient:
    return served_system[1]
