"""The servers that documents speak of: real PostgreSQL and Redis, an Ollama and an OpenAI server in shape."""

from collections.abc import AsyncIterator

import pytest

from tests.cases.engine_shapes import VLLM, OllamaShape, running


@pytest.fixture
async def places(postgres_url: str, redis_url: str) -> AsyncIterator[dict[str, str]]:
    """What a document says, and what it means here."""
    ollama, openai = OllamaShape("llama3.2:latest"), VLLM()
    async with running(ollama), running(openai):
        yield {
            "postgresql+asyncpg://user:secret@localhost/app": postgres_url,
            "redis://localhost:6379/0": redis_url,
            "http://127.0.0.1:11434": ollama.url,
            "http://127.0.0.1:8080": openai.url,
        }
