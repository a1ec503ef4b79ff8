"""Pipelines and transactions against a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import DataError, ExecAbortError, ResponseError, WatchError

from fluido.redis import Redis

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, protocol=request.param) as client:
        yield client


@pytest.mark.parametrize("transaction", [False, True])
async def test_a_pipeline_travels_over_the_shared_connection(client: Redis, transaction: bool) -> None:
    pipe = client.pipeline(transaction=transaction)
    pipe.set("a", 1)
    pipe.incr("a")
    pipe.hset("h", mapping={"x": 1})
    pipe.hgetall("h")
    assert await pipe.execute() == [True, 2, 1, {b"x": b"1"}]
    assert client.counts().opened == 1
    assert client.counts().ordinary == 0
    assert len(pipe) == 0
    assert await pipe.execute() == []


async def test_many_transactions_do_not_mix(client: Redis) -> None:
    async def move(number: int) -> None:
        pipe = client.pipeline()
        pipe.incrby("left", number)
        pipe.get("left")
        pipe.decrby("right", number)
        left, shown, right = await pipe.execute()
        assert int(shown) == left == -right

    await asyncio.gather(*[move(number) for number in range(200)], *[client.get("left") for _ in range(200)])
    assert client.counts().opened == 1


async def test_errors_in_a_pipeline_are_redis_pys_own(client: Redis) -> None:
    await client.set("text", "x")
    pipe = client.pipeline(transaction=False)
    pipe.incr("n")
    pipe.lpush("text", 1)
    pipe.incr("n")
    with pytest.raises(ResponseError, match=r"Command # 2 \(LPUSH text 1\) of pipeline caused error"):
        await pipe.execute()
    assert await client.get("n") == b"2"
    pipe = client.pipeline()
    pipe.lpush("text", 1)
    pipe.get("text")
    values = await pipe.execute(raise_on_error=False)
    assert isinstance(values[0], ResponseError)
    assert values[1] == b"x"
    pipe = client.pipeline()
    pipe.set("k", [])  # type: ignore[arg-type]  # the wrong type is the point
    with pytest.raises(DataError):
        await pipe.execute()
    pipe = client.pipeline()
    pipe.execute_command("SET", "k")
    with pytest.raises((ResponseError, ExecAbortError), match=r"wrong number of arguments|exception\.args"):
        await pipe.execute()
    assert await client.ping()


async def test_watch_keeps_its_own_connection(client: Redis) -> None:
    await client.set("k", 1)
    async with client.pipeline() as pipe:
        await pipe.watch("k")
        assert await pipe.get("k") == b"1"
        await client.set("k", 2)
        pipe.multi()
        pipe.set("k", 3)
        with pytest.raises(WatchError):
            await pipe.execute()
    assert await client.get("k") == b"2"


async def test_what_may_not_be_shared_takes_its_own_connection(client: Redis) -> None:
    pipe = client.pipeline(transaction=False)
    pipe.client_id()
    pipe.get("k")
    assert len(await pipe.execute()) == 2
    pipe = client.pipeline(transaction=False)
    for number in range(1001):
        pipe.rpush("long", number)
    assert (await pipe.execute())[-1] == 1001
    pipe = client.pipeline(transaction=False)
    pipe.set("big", b"x" * (600 << 10))
    assert await pipe.execute() == [True]
    assert client.counts().shared == 0


async def test_scripts_and_locks_work(client: Redis) -> None:
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert await script(keys=["n"], args=[5]) == 5
    pipe = client.pipeline()
    await script(keys=["n"], args=[5], client=pipe)
    assert await pipe.execute() == [10]
    async with client.lock("lock", timeout=5):
        assert await client.exists("lock")
    assert not await client.exists("lock")

    def change(pipe: Any) -> None:
        pipe.multi()
        pipe.set("t", 1)

    assert await client.transaction(change, "t") == [True]


async def test_a_cancelled_pipeline_leaves_the_order(client: Redis) -> None:
    for delay in range(3):
        pipe = client.pipeline()
        for number in range(50):
            pipe.set(f"k{number}", number)
        task = asyncio.create_task(pipe.execute())
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        assert await client.set("mark", delay)
        assert await client.get("mark") == b"%d" % delay
    assert client.counts().opened == 1
