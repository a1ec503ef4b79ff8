"""The examples that switch an app, measure one's own, bring a law and provoke the pool's error."""

import difflib
import os
import runpy
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from tests.cases.engine_shapes import OpenAIShape, running

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.servers


@pytest.fixture
async def servers(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OpenAIShape]:
    async with running(OpenAIShape()) as engine:
        for name, url in (("DATABASE", postgres_url), ("REDIS", redis_url), ("OPENAI", f"{engine.url}/v1")):
            monkeypatch.setenv(f"{name}_URL", url)
        yield engine


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test", follow_redirects=True
    )


@pytest.mark.anyio
async def test_a_chat_service_is_switched_by_fifteen_lines_at_most(servers: OpenAIShape) -> None:
    before, after = ((EXAMPLES / f"chat_{name}.py").read_text().splitlines() for name in ("before", "after"))
    changed = [line for line in difflib.unified_diff(before, after, n=0) if line.startswith("+")]
    code = [line for line in changed[1:] if line.strip("+ ") and '"""' not in line and "uvicorn" not in line]
    assert 5 < len(code) <= 15, code
    app = example("chat_after")["app"]
    async with app.router.lifespan_context(app), client_of(app) as client:
        asked = {"who": "ana", "question": "Why?"}
        first, again = [(await client.get("/ask", params=asked)).json() for _ in range(2)]
    assert first == {"answer": "w0 w1 w2 w3 w4 ", "cached": False}
    assert again == {**first, "cached": True}
    assert servers.bodies[0]["max_tokens"] == 64


@pytest.mark.anyio
async def test_ones_own_metrics_show_each_flow(servers: OpenAIShape) -> None:
    made = example("own_metrics")
    try:
        async with client_of(made["app"]) as client:
            await made["cache"].set("a", 1)
            text = (await client.get("/metrics")).text
    finally:
        REGISTRY.unregister(made["flows"])
        await made["cache"].aclose()
        await made["engine"].dispose()
    admitted = [line for line in text.splitlines() if line.startswith("fluido_admitted_total{")]
    assert len(admitted) == 3
    assert any('flow="cache"' in line and line.endswith(" 1.0") for line in admitted)


@pytest.mark.anyio
async def test_a_law_of_ones_own_decides_in_a_pool(servers: OpenAIShape, postgres_url: str) -> None:
    value, *reasons = await example("own_law")["main"](postgres_url)
    assert value == "halving: 17"  # 240 good calls: two steps above 15
    assert "good" in reasons


def test_a_law_of_ones_own_is_judged_by_the_simulator() -> None:
    command = [sys.executable, "-m", "fluido.testing", "scenarios", "--law", "own_law:Halving", "--short"]
    done = subprocess.run(
        [*command, "--only", "steady", "--seeds", "1"],
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "steady                   throughput" in done.stdout, done.stderr
    assert "MISSED" in done.stdout  # as the example says


@pytest.mark.anyio
async def test_the_pool_error_is_provoked_and_cured(servers: OpenAIShape, postgres_url: str) -> None:
    compare = example("queuepool_limit")["compare"]
    stock, ours, large = (await compare(postgres_url, callers=240, rounds=1)).values()
    assert stock[0] <= 165  # ten rounds of 15 end within two seconds, and one more on a slow clock
    assert large[0] >= ours[0] > stock[0]


def test_clients_are_built_without_a_loop_and_without_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://nobody/d")
    monkeypatch.setenv("REDIS_URL", "redis://nobody")
    monkeypatch.setenv("OPENAI_URL", "http://nobody/v1")
    assert isinstance(example("chat_after")["app"], FastAPI)
