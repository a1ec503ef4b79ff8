"""The customer's cache on a real server, and without one."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from app.cache.dynamic_redis import CacheBounds, DynamicRedisCache
from embedded.ports import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[DynamicRedisCache]:
    cache = DynamicRedisCache(redis_url, namespace="t", bounds=CacheBounds(max_entries=50))
    await cache.open()
    yield cache
    await cache.close()


async def test_many_conversations_are_written_and_read_at_once(cache: DynamicRedisCache) -> None:
    values = {f"conversation:{n}": {"turns": [["user", "¿qué?"], ["assistant", str(n)]]} for n in range(40)}
    assert all(await asyncio.gather(*[cache.set(key, value, 60) for key, value in values.items()]))
    assert await cache.batch_get([*values, "none"]) == values
    assert await asyncio.gather(*[cache.get(key) for key in values]) == list(values.values())
    assert await cache.delete(*values) == 40
    assert cache.client is not None
    assert cache.client.counts().opened == 1
    assert "answers in" in await cache.check()


async def test_entries_and_times_are_bounded_in_redis_itself(cache: DynamicRedisCache) -> None:
    for number in range(128):
        await cache.set(f"k{number}", number, ttl=100 + number)
    client = cache.client
    assert client is not None
    assert len(await client.keys("t:entry:*")) == 50
    assert 0 < await client.pttl("t:entry:k127") <= 227_000
    assert cache.stats().trimmed == 78


async def test_without_a_server_everything_is_a_miss_and_nothing_waits_long() -> None:
    cache = DynamicRedisCache(f"redis://127.0.0.1:{free_port()}/0")
    await cache.open()
    begun_s = time.perf_counter()
    answers = await asyncio.gather(*[cache.get(f"k{n}") for n in range(200)])
    assert answers == [None] * 200
    assert await cache.set("k", 1) is False
    assert await cache.get_or_compute("k", _seven) == 7
    # 3.0 s at a load of 15; one after the other they would wait for minutes.
    assert time.perf_counter() - begun_s < 30.0
    counts = cache.stats()
    assert counts.failed + counts.skipped == 200 + 1 + 2
    assert counts.failed <= 200
    with pytest.raises(ConnectionError):
        await cache.check()
    await cache.close()


async def _seven() -> int:
    return 7
