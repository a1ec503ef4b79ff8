"""The Redis client."""

from typing import Any, assert_type

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from fluido._metrics import FlowStats
from fluido.redis import Counts, Redis, Sharing


async def a_program() -> None:
    """Everything of the guide."""
    client = Redis(host="localhost", port=6379, db=1, decode_responses=True, retry=Retry(NoBackoff(), 0))
    stock: redis.asyncio.Redis = client
    assert_type(Redis.from_url("redis://localhost", max_connections=10), Redis)
    assert_type(Redis.from_url("redis://localhost", sharing=Sharing(delivery="safe")), Redis)
    assert_type(Redis.from_pool(redis.asyncio.ConnectionPool()), Redis)
    assert_type(client.stats(), FlowStats)
    assert_type(client.counts(), Counts)
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.set("a", 1)
        assert_type(await pipeline.execute(), list[Any])
    await stock.get("a")
    await client.aclose()


def what_is_refused() -> None:
    """Each of these is an error; mypy says so when it is none."""
    Redis(hots="localhost")  # type: ignore[call-arg]
    Redis(port="6379")  # type: ignore[arg-type]
    Redis("localhost")  # type: ignore[call-arg, arg-type]
    Redis(sharing={"links": 2})  # type: ignore[arg-type]
    Sharing(delivery="twice")  # type: ignore[arg-type]
