"""A redis-py whose connections cannot be shared: all is as with the stock client, and it is said once.

`make test-versions` runs this with redis-py 5.2. With a newer one the line between the two is moved up.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis.asyncio as stock
from redis.exceptions import RedisError

from fluido.redis import Redis, Sharing
from fluido.redis import _adapter as adapter

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


@pytest.fixture(autouse=True)
def nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(adapter, "OLDEST", (99, 0))
    monkeypatch.setattr("fluido.redis._client._TOLD", set())  # what was logged before
    adapter.obstacle.cache_clear()
    yield
    adapter.obstacle.cache_clear()


@pytest.fixture
async def ours(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


async def plain(client: Any) -> list[Any]:
    await client.set("name", "ana", ex=100)
    await client.hset("hash", mapping={"a": 1, "b": 2.5})
    return [
        await client.get("name"), await client.ttl("name") > 0, await client.hgetall("hash"),
        await client.mget("name", "none"), [key async for key in client.scan_iter("n*")],
        await client.set("name", "eva", nx=True), await client.execute_command("SET", "x", b"\xc3\xb1"),
    ]  # fmt: skip


async def errors(client: Any) -> list[Any]:
    await client.set("text", "x")
    said = []
    for call in (("INCR", "text"), ("NO-SUCH-COMMAND",), ("GET",)):
        try:
            await client.execute_command(*call)
        except RedisError as error:
            said.append((type(error).__name__, str(error)))
    return said


async def pipelines(client: Any) -> list[Any]:
    async with client.pipeline(transaction=False) as pipe:
        first = await pipe.set("a", 1).incr("a").get("none").execute()
    async with client.pipeline() as pipe:
        await pipe.watch("a")
        seen = await pipe.get("a")
        pipe.multi()
        second = await pipe.set("a", int(seen) + 1).execute()
    async with client.pipeline() as pipe:
        third = await pipe.lpush("a", 1).get("a").execute(raise_on_error=False)
    return [first, seen, second, [str(each) for each in third], await client.get("a")]


async def blocking(client: Any) -> list[Any]:
    await client.rpush("queue", "first")
    taken = await client.blpop(["queue"], timeout=1)
    waiting = asyncio.create_task(client.blpop(["queue"], timeout=5))
    await asyncio.sleep(0.05)
    await client.rpush("queue", "second")
    await client.xadd("stream", {"k": "v"})
    read = await client.xread({"stream": 0}, block=1000)
    return [taken, await waiting, await client.blpop(["queue"], timeout=0.05), len(read)]


async def messages(client: Any) -> list[Any]:
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("news")
        told = [(await pubsub.get_message(timeout=5))["type"], await client.publish("news", "hello")]
        return [*told, (await pubsub.get_message(timeout=5))["data"]]


async def tools(client: Any) -> list[Any]:
    async with client.lock("lock", timeout=5) as lock:
        held = [await lock.owned(), await client.get("lock") is not None]
    script = client.register_script("return {KEYS[1], ARGV[1]}")
    return [*held, await client.get("lock"), await script(keys=["k"], args=["v"])]


SCRIPTS = [plain, errors, pipelines, blocking, messages, tools]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
async def test_the_answers_are_stocks(
    script: Callable[[Any], Awaitable[list[Any]]], redis_url: str, ours: Redis
) -> None:
    async with stock.Redis.from_url(redis_url, decode_responses=True) as client:
        right = await script(client)
        await client.flushall()
    assert await script(ours) == right
    counts = ours.counts()
    assert (counts.shared, counts.opened) == (0, 0)
    assert counts.ordinary > 0


async def test_fifty_callers_at_once(ours: Redis) -> None:
    assert sorted(await asyncio.gather(*(ours.incr("n") for _ in range(50)))) == list(range(1, 51))


async def test_it_is_said_once_and_why(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="fluido.redis"):
        async with Redis.from_url(redis_url, sharing=Sharing(links=2)) as client:
            await asyncio.gather(*(client.ping() for _ in range(5)))
    assert "is older than" in (client.counts().fallback or "")
    assert len([record for record in caplog.records if "is older than" in record.getMessage()]) == 1


async def test_sharing_is_no_argument_that_fails(redis_url: str) -> None:
    pool = stock.ConnectionPool.from_url(redis_url)
    for client in (Redis.from_pool(pool), Redis(connection_pool=stock.ConnectionPool.from_url(redis_url))):
        async with client:
            assert await client.ping()
