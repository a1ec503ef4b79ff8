"""A cached value of another shape or release is a miss (service.md 9)."""

import json
import time
from uuid import UUID

import pytest
import redis.asyncio as stock

from app.cache.dynamic_redis import DynamicRedisCache
from app.cache.entry import VERSION
from tests.cases.service_engine import ScriptedEngine, serving
from tests.servers.sentinel import running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

FRESH = time.time() + 3_600
SHAPES = [
    {"x": 1},
    {"user_id": "ana", "last_id": "text", "turns": []},
    {"user_id": "ana", "last_id": 1, "turns": [["user"]]},
    {"user_id": "ana", "last_id": 1, "turns": [["user", "a", "b"]]},
    {"user_id": "ana", "last_id": 1, "turns": [["user", 7]]},
    {"user_id": 7, "last_id": 1, "turns": []},
    [1, 2],
    "text",
    None,
]


async def test_another_shape_is_a_miss(postgres_url: str, redis_url: str) -> None:
    async with (
        serving(ScriptedEngine()) as url,
        running(postgres_url, redis_url, url) as one,
        running(postgres_url, redis_url, url) as other,
        stock.Redis.from_url(redis_url) as client,
    ):
        conversation = (await one.chat("one")).json()["conversation_id"]
        await one.system.assistant.history.flush()
        name = f"sentinel:entry:history:{conversation}"
        assert json.loads(await client.get(name))[0] == VERSION
        misses = 0
        for value in SHAPES:
            for version in (VERSION, VERSION + 1):
                other.system.assistant.history.overlook(UUID(conversation))
                await client.set(name, json.dumps([version, FRESH, 0.0, value]))
                answer = await other.chat("two", conversation_id=conversation)
                assert answer.status_code == 200, value
                misses += 1
                assert other.system.assistant.history.found["database"] == misses
                await other.system.assistant.history.flush()


async def test_what_a_reader_cannot_take_is_a_miss(redis_url: str) -> None:
    cache = DynamicRedisCache(redis_url)
    await cache.open()
    try:
        await cache.set("k", {"a": 1})
        assert await cache.get("k", parse=lambda value: value["a"]) == 1
        for parse in (lambda value: value["b"], int, lambda value: value.name, lambda value: value[0]):
            assert await cache.get("k", "none", parse=parse) == "none"
        assert cache.stats().corrupt == 4
    finally:
        await cache.close()
