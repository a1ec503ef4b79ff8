"""Sentinel on given servers, for the tests of this folder."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from app.build import build
from app.cache.dynamic_redis import DynamicRedisCache
from app.core.settings import Settings
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.services.sentinel_fluido_v2 import SentinelFluidoV2
from app.services.system import SentinelSystem
from tests.app.serving import served


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float, every_s: float = 0.01) -> float:
    """Return after how many seconds `holds()` was true; AssertionError when it is not in time."""
    began = time.perf_counter()
    while not await holds():
        assert time.perf_counter() - began < within_s, f"not within {within_s} s"
        await asyncio.sleep(every_s)
    return time.perf_counter() - began


@dataclass
class Running:
    """A served Sentinel with its parts."""

    client: httpx.AsyncClient
    sentinel: SentinelFluidoV2
    db: DynamicPostgreSQLSession
    cache: DynamicRedisCache
    system: SentinelSystem

    async def chat(
        self, message: str, *, headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        """POST /chat as the user `ana`, with a short answer unless told otherwise."""
        values = {"user_id": "ana", "message": message, "max_output_tokens": 6} | body
        return await self.client.post("/chat", json=values, headers=headers)

    async def events(self, message: str, **body: Any) -> list[tuple[str, dict[str, Any]]]:
        """POST /chat/stream and return every event."""
        values = {"user_id": "ana", "message": message, "max_output_tokens": 6} | body
        answer = await self.client.post("/chat/stream", json=values)
        found = []
        for block in answer.text.split("\n\n"):
            lines = [line for line in block.split("\n") if line and not line.startswith(":")]
            if lines:
                found.append((lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))))
        return found


@asynccontextmanager
async def running(
    database_url: str,
    redis_url: str | None,
    engine_url: str,
    *,
    deadline_s: float = 60.0,
    ollama: bool = False,
    **more: Any,
) -> AsyncIterator[Running]:
    """Sentinel as it is built, on the servers of a test."""
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        openai_url=None if ollama else engine_url,
        ollama_url=engine_url if ollama else None,
        model=None,
        deadline_s=deadline_s,
        **more,
    )
    built = build(settings)
    async with served(built.app) as client:
        yield Running(client, built.service, built.db, built.cache, built.system)
