"""The servers that documents speak of: real PostgreSQL and Redis, an Ollama and an OpenAI server in shape."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.cases.engine_shapes import VLLM, OllamaShape, running


class Weather:
    """An HTTP API that takes eight calls at once; the ninth is told to come back in a moment."""

    url = ""

    def __init__(self) -> None:
        self._inside = 0

    async def handle(self, _request: web.Request) -> web.StreamResponse:
        """Answer one call, or refuse it."""
        if self._inside >= 8:
            return web.Response(status=429, headers={"Retry-After": "0.02"})
        self._inside += 1
        try:
            await asyncio.sleep(0.005)
            return web.Response(text="fair")
        finally:
            self._inside -= 1


@pytest.fixture
async def places(postgres_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """What a document says, and what it means here."""
    ollama, openai, weather = OllamaShape("llama3.2:latest"), VLLM(), Weather()
    async with running(ollama), running(openai), running(weather):
        yield {
            "postgresql+asyncpg://user:secret@localhost/app": postgres_url,
            "redis://localhost:6379/0": redis_url,
            "http://127.0.0.1:11434": ollama.url,
            "http://127.0.0.1:8080": openai.url,
            "https://api.example.com": weather.url,
            "limits.json": str(tmp_path / "limits.json"),
        }
