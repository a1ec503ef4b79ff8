"""The drop-in against a real server."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import BlockingConnectionPool, ConnectionPool
from redis.exceptions import DataError, ResponseError

from fluido.redis import Redis, Sharing

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, protocol=request.param) as client:
        yield client


async def test_ordinary_commands_share_one_connection(client: Redis) -> None:
    assert await client.set("a", "1", ex=100)
    assert await client.get("a") == b"1"
    assert await client.mget(["a", "none"]) == [b"1", None]
    assert await client.expire("a", 50)
    assert await client.delete("a", "none") == 1
    assert await client.hset("h", mapping={"x": 1}) == 1
    assert await client.hgetall("h") == {b"x": b"1"}
    counts = client.counts()
    assert (counts.shared, counts.ordinary, counts.opened, counts.fallback) == (7, 0, 1, None)


async def test_five_thousand_calls_at_once_need_one_connection(client: Redis) -> None:
    await client.set("k", "v")
    assert await asyncio.gather(*[client.get("k") for _ in range(5000)]) == [b"v"] * 5000
    assert client.counts().opened == 1
    assert (await client.info("clients"))["connected_clients"] == 1
    assert client.counts().batches  # what a tick brought left together
    assert client.counts().shared / sum(client.counts().batches.values()) > 100


async def test_errors_are_redis_pys_own(client: Redis) -> None:
    await client.set("text", "x")
    with pytest.raises(ResponseError, match=r"^WRONGTYPE Operation against a key"):
        await client.lpush("text", 1)
    with pytest.raises(DataError, match="Invalid input of type: 'NoneType'"):
        await client.set("k", None)  # type: ignore[arg-type]  # the wrong type is the point
    with pytest.raises(DataError, match="Invalid input of type: 'bool'"):
        await client.set("k", True)
    with pytest.raises(ResponseError, match="unknown command"):
        await client.execute_command("NOSUCHCOMMAND")


async def test_arguments_arrive_as_redis_py_sends_them(client: Redis) -> None:
    for value, stored in [
        (memoryview(b"abcdef")[::2], b"ace"),
        (1.5, b"1.5"),
        (10**30, str(10**30).encode()),
        ("ñ", "ñ".encode()),
    ]:
        await client.set("k", value)  # type: ignore[arg-type]  # more than the signature allows
        assert await client.get("k") == stored


async def test_a_blocking_command_has_its_own_connection_and_its_own_time(redis_url: str) -> None:
    async with Redis.from_url(redis_url, socket_timeout=0.2) as client:
        waiting = asyncio.create_task(client.blpop(["empty"], timeout=0.6))
        assert await client.set("a", 1)
        assert await waiting is None
        popped = asyncio.create_task(client.blpop(["list"], timeout=0))
        await client.rpush("list", "x")
        assert await popped == (b"list", b"x")
        assert client.counts().blocking == 2
        assert client.counts().retried == 0


async def test_a_cancelled_call_leaves_the_connection_and_the_order(client: Redis) -> None:
    await client.mset({f"k{n}": n for n in range(100)})
    for _ in range(20):
        calls = [asyncio.create_task(client.get(f"k{n}")) for n in range(100)]
        await asyncio.sleep(0)
        for call in calls[::3]:
            call.cancel()
        await asyncio.sleep(0)
        for call in calls[1::3]:
            call.cancel()
        answers = await asyncio.gather(*calls[2::3])
        assert answers == [b"%d" % n for n in range(100)][2::3]
    assert client.counts().opened == 1


async def test_select_leaves_the_shared_connection_with_a_warning(client: Redis) -> None:
    with pytest.warns(RuntimeWarning, match="SELECT changes one connection"):
        assert await client.select(3)
    shared = client.counts().shared
    await client.set("k", 1)
    assert client.counts().shared == shared


async def test_wait_runs_on_the_connection_of_the_writes(client: Redis) -> None:
    await client.set("k", 1)
    assert await client.wait(0, 10) == 0
    assert await client.get("k") == b"1"
    assert client.counts().opened == 2
    assert client.counts().events == {"closed: WAIT": 1}


async def test_a_dump_stays_bytes_although_replies_are_decoded(redis_url: str) -> None:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        await client.set("k", "ñ")
        text, dump, number = await asyncio.gather(client.get("k"), client.dump("k"), client.incr("n"))
        assert (text, number) == ("ñ", 1)
        assert isinstance(dump, bytes)
        await client.restore("copy", 0, dump)
        assert await client.get("copy") == "ñ"


async def test_a_reply_that_cannot_be_decoded_fails_its_own_caller_only(redis_url: str) -> None:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        await client.set("raw", b"\xff\xfe")
        await client.set("text", "x")
        bad, good = await asyncio.gather(client.get("raw"), client.get("text"), return_exceptions=True)
        assert isinstance(bad, UnicodeDecodeError)
        assert good == "x"
        assert client.counts().opened == 1


def test_one_client_serves_several_loops(redis_url: str) -> None:
    client = Redis.from_url(redis_url)

    async def work() -> bytes | str | None:
        await asyncio.gather(*[client.incr("n") for _ in range(10)])
        return await client.get("n")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(work()) == b"10"
        assert asyncio.run(work()) == b"20"
        asyncio.run(client.aclose())
        gc.collect()


async def test_a_dropped_client_closes_its_connection(redis_url: str) -> None:
    watcher = Redis.from_url(redis_url)
    await watcher.ping()

    async def use_another() -> None:
        client = Redis.from_url(redis_url)
        await client.set("k", 1)
        assert (await watcher.info("clients"))["connected_clients"] == 2

    await use_another()
    gc.collect()
    for _ in range(100):
        if (await watcher.info("clients"))["connected_clients"] == 1:
            break
        await asyncio.sleep(0.01)
    assert (await watcher.info("clients"))["connected_clients"] == 1
    await watcher.aclose()


async def test_clients_of_one_pool_share_its_link(redis_url: str) -> None:
    pool = ConnectionPool.from_url(redis_url)
    for _ in range(5):
        assert await Redis(connection_pool=pool).set("k", 1)
    client = Redis(connection_pool=pool)
    assert (await client.info("clients"))["connected_clients"] == 1
    await pool.aclose()


@pytest.mark.parametrize("links", [1, 2])
async def test_a_blocking_pool_works_too(redis_url: str, links: int) -> None:
    pool = BlockingConnectionPool.from_url(redis_url, max_connections=3)
    client = Redis.from_pool(pool, sharing=Sharing(links=links))
    bursts = 0
    # A second link is opened beside the traffic: how many bursts go by before it is there is not ours to say.
    while bursts < 3 or (client.counts().opened < links and bursts < 200):
        await asyncio.gather(*[client.incr("n") for _ in range(500)])
        bursts += 1
    assert int(await client.get("n")) == 500 * bursts
    assert client.counts().opened == links
    await client.aclose()


async def test_a_pool_of_one_connection_has_room_for_the_shared_one(redis_url: str) -> None:
    async with Redis.from_url(redis_url, max_connections=1) as client:
        await asyncio.gather(*[client.set("k", n) for n in range(10)])
        waiting = asyncio.create_task(client.blpop(["list"], timeout=5))  # takes the one of the pool
        await client.rpush("list", "x")
        assert await waiting == (b"list", b"x")
        assert client.counts().shared == 11
        assert client.connection_pool.max_connections == 2  # until the shared one is closed
    assert client.connection_pool.max_connections == 1


async def test_a_full_window_makes_callers_wait_in_order(redis_url: str) -> None:
    sharing = Sharing(window=8)
    async with Redis.from_url(redis_url, sharing=sharing) as client:
        await asyncio.gather(*[client.rpush("order", n) for n in range(500)])
        assert await client.lrange("order", 0, -1) == [b"%d" % n for n in range(500)]
        assert max(client.counts().batches) <= 8
        assert client.stats().inflight == 0
