"""The user's pool stays the user's: its limit, its options, and the word when nothing is shared.

redis-py#2517, hopeit.engine#222, arq's test_mung (a limit that is used up exactly).
"""

import asyncio
import logging
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio import BlockingConnectionPool, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

from fluido.redis import Redis, Sharing

from .redis_versions import sharing

pytestmark = [pytest.mark.anyio, pytest.mark.servers, sharing]


@pytest.mark.parametrize("make", [redis.asyncio.Redis, Redis])
@pytest.mark.parametrize("limit", [1, 2, 20])
async def test_a_limit_that_is_used_up_exactly(redis_url: str, make: Any, limit: int) -> None:
    """So many WATCH pipelines at once as the pool has connections, and one ordinary command after them."""
    async with make.from_url(redis_url, max_connections=limit) as client:
        await client.set("k", 0)
        held = asyncio.Barrier(limit)

        async def enqueue(number: int) -> None:
            async with client.pipeline() as pipe:
                await pipe.watch(f"k{number}")
                await held.wait()
                pipe.multi()
                await pipe.set(f"k{number}", 1).execute()

        async with asyncio.timeout(20):
            await asyncio.gather(*[enqueue(number) for number in range(limit)])
        assert await client.get("k") == b"0"


async def test_the_limit_still_holds(redis_url: str) -> None:
    async with Redis.from_url(redis_url, max_connections=2) as client:
        await client.ping()
        waits = [asyncio.create_task(client.blpop(["none"], timeout=1)) for _ in range(3)]
        answers = await asyncio.gather(*waits, return_exceptions=True)
        assert [str(answer) for answer in answers if answer is not None] == ["Too many connections"]


async def test_a_blocking_pool_whose_connections_are_all_held_still_shares(redis_url: str) -> None:
    pool = BlockingConnectionPool.from_url(redis_url, max_connections=1, timeout=0.2)
    client = Redis.from_pool(pool)
    held: Any = await pool.get_connection()
    assert await client.set("k", 1)
    with pytest.raises(RedisConnectionError, match="No connection available"):
        await client.blpop(["k"], timeout=1)
    await pool.release(held)
    await client.aclose()
    assert pool.max_connections == 1


@pytest.mark.parametrize("first", [None, Sharing(), Sharing(delivery="safe")])
async def test_sharing_that_contradicts_the_pools_is_refused(redis_url: str, first: Sharing | None) -> None:
    pool = ConnectionPool.from_url(redis_url)
    one = Redis(connection_pool=pool, sharing=first)
    await one.ping()
    with pytest.raises(ValueError, match="contradicts"):
        Redis(connection_pool=pool, sharing=Sharing(links=2))
    with pytest.raises(ValueError, match="contradicts"):
        Redis.from_pool(pool, sharing=Sharing(window=8))
    assert await Redis(connection_pool=pool).ping()
    await pool.aclose()


async def test_delivery_belongs_to_the_client(redis_url: str) -> None:
    """Two clients of a pool: the one that is safe must not count twice because the other may."""
    pool = ConnectionPool.from_url(redis_url)
    bold, safe = Redis(connection_pool=pool), Redis(connection_pool=pool, sharing=Sharing(delivery="safe"))
    await asyncio.gather(bold.ping(), safe.ping())
    assert (bold.sharing.delivery, safe.sharing.delivery) == ("retry", "safe")
    assert bold.counts().opened == safe.counts().opened == 1
    await pool.aclose()


async def test_who_does_not_share_is_told(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="fluido.redis"):
        for _ in range(2):
            async with Redis.from_url(redis_url, single_connection_client=True) as client:
                assert await client.ping()
                assert await client.set("k", 1)
                counts = client.counts()
                assert (counts.fallback, counts.shared, counts.ordinary) == ("single_connection_client", 0, 2)
    told = [record for record in caplog.records if "single_connection_client" in record.message]
    assert len(told) <= 1  # none if another test of this process was first


async def test_clients_of_one_request_each_leave_nothing_behind(redis_url: str) -> None:
    pool = ConnectionPool.from_url(redis_url, max_connections=3)
    for _ in range(20):
        async with Redis(connection_pool=pool) as client:
            await asyncio.gather(*[client.set("k", n) for n in range(5)])
    assert len(await Redis(connection_pool=pool).client_list()) <= 2
    await pool.aclose()
