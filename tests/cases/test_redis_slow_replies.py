"""One caller's slow or large reply, large write or held-up write is his own trouble.

StackExchange.Redis#2513, #1279, #705, valkey-glide#5284 (a key grew to 10 MB), redis#8170 (CLIENT PAUSE).
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis.asyncio
import uvloop
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fluido.redis import Redis, Sharing

from .narrow_path import NarrowPath
from .redis_versions import sharing

pytestmark = [pytest.mark.anyio, pytest.mark.servers, sharing]
Client = Any


@dataclass
class Company:
    """Callers that count while somebody else is in trouble."""

    acknowledged: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    async def count(self, client: Client, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await client.incr("n")
                self.acknowledged += 1
            except RedisError as error:
                self.errors[type(error).__name__] += 1
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("delivery", ["retry", "safe"])
async def test_a_reply_slower_than_the_socket_timeout_doubles_no_write(redis_url: str, delivery: Any) -> None:
    there = parse_url(redis_url)
    admin = redis.asyncio.Redis.from_url(redis_url)
    await admin.set("large", b"x" * (1 << 20))
    async with NarrowPath(there["port"], bytes_per_s=2e6) as path:
        client = Redis(
            host="127.0.0.1", port=path.here, password=there["password"], socket_timeout=0.3,
            retry=Retry(NoBackoff(), 2), sharing=Sharing(delivery=delivery),
        )  # fmt: skip
        company, stop = Company(), asyncio.Event()
        await client.ping()
        callers = [asyncio.create_task(company.count(client, stop)) for _ in range(4)]
        for _ in range(2):
            with pytest.raises(RedisTimeoutError):  # as stock: its own connection, its own timeout
                await client.get("large")
        stop.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*callers)
        assert not company.errors
        assert company.acknowledged == int(await client.get("n") or 0)  # each ran once
        counts = client.counts()
        # Who was behind the first large reply waited for it; the second one was in nobody's way.
        assert sum(map(counts.events.get, ("closed: a large reply", "closed: late"), (0, 0))) == 1
        assert counts.bulk == 1
        await client.aclose()
    await admin.aclose()


async def test_a_reply_that_was_large_has_a_connection_of_its_own(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        for number in range(6):
            await client.set(f"page:{number}", b"x" * 300_000)
        assert client.counts().bulk == 6  # by the size of the command
        await asyncio.gather(client.get("page:0"), client.get("page:1"))
        bulk = client.counts().bulk
        # the same key, and keys of the same kind that were never read
        assert [len(await client.get(f"page:{number}") or b"") for number in (0, 2, 3)] == [300_000] * 3
        assert client.counts().bulk == bulk + 3
        assert await client.get("other") is None
        assert client.counts().bulk == bulk + 3
        await client.mset({f"page:{number}": "small" for number in range(6)})
        for _ in range(80):
            await client.get("page:0")
        bulk = client.counts().bulk
        assert await client.get("page:0") == b"small"
        assert client.counts().bulk == bulk  # and it is forgotten when it is large no more


async def test_when_the_pool_has_no_connection_left_large_values_are_shared(redis_url: str) -> None:
    """As before, 400 at once are no `MaxConnectionsError`, which is what stock makes of them."""
    async with Redis.from_url(redis_url, max_connections=4) as client:
        await client.set("large", b"x" * 200_000)
        await client.get("large")
        answers = await asyncio.gather(*[client.get("large") for _ in range(100)])
        assert {len(answer or b"") for answer in answers} == {200_000}


async def test_a_large_write_is_nobody_elses_trouble(redis_url: str) -> None:
    """20 MB are on their way: what is small does not wait behind them."""
    async with Redis.from_url(redis_url) as client:
        await client.ping()
        shared = client.counts().shared
        writes = [asyncio.create_task(client.set(f"large:{n}", b"x" * (10 << 20))) for n in range(2)]
        await asyncio.gather(*[client.incr("n") for _ in range(100)])
        assert all(await asyncio.gather(*writes))
        assert client.counts().shared == shared + 100
        assert client.counts().bulk == 2


async def test_safe_delivery_repeats_no_large_write(redis_url: str) -> None:
    there = parse_url(redis_url)
    async with NarrowPath(there["port"]) as path:
        client = Redis(
            host="127.0.0.1", port=path.here, password=there["password"], socket_timeout=0.2,
            retry=Retry(NoBackoff(), 3), sharing=Sharing(delivery="safe"),
        )  # fmt: skip
        await client.rpush("list", "x" * 200_000)
        path.silence()
        with pytest.raises(RedisTimeoutError):
            await client.rpush("list", "x" * 200_000)
        assert await client.llen("list") == 1
        await client.aclose()


async def test_reads_pass_while_the_server_holds_writes_up(redis_url: str) -> None:
    """CLIENT PAUSE WRITE: a planned failover, managed maintenance."""
    admin = redis.asyncio.Redis.from_url(redis_url)
    async with Redis.from_url(redis_url) as client:
        await client.set("k", 1)
        await admin.execute_command("CLIENT", "PAUSE", 1000, "WRITE")
        began_s = time.monotonic()
        write = asyncio.create_task(client.incr("n"))
        await asyncio.sleep(0)
        behind = await asyncio.gather(*[client.get("k") for _ in range(5)])
        assert behind == [b"1"] * 5
        reads = 0
        while not write.done():
            assert await client.get("k") == b"1"
            assert (await client.pipeline(transaction=False).get("k").ttl("k").execute())[0] == b"1"
            reads += 1
        assert time.monotonic() - began_s > 0.5
        assert reads > 10  # each would have waited for the end of the pause
        assert await write == 1
        assert await client.incr("n") == 2
        assert client.counts().events["reads apart"] == 1
        assert client.counts().retried == 0
    await admin.aclose()


async def test_a_slow_script_runs_once_and_its_company_too(redis_url: str) -> None:
    """Longer than a stall, shorter than the socket timeout: nothing is sent twice but what reads."""
    busy = "local n = redis.call('INCR', KEYS[1]); for i = 1, 4e7 do end; return n"
    async with Redis.from_url(redis_url, socket_timeout=20) as client:
        await client.ping()
        answers = await asyncio.gather(
            client.eval(busy, 1, "script"), *[client.incr("n") for _ in range(20)], client.get("n")
        )
        assert answers == [1, *range(1, 21), b"20"]
        assert await client.mget("script", "n") == [b"1", b"20"]


async def test_a_script_slower_than_the_socket_timeout_runs_no_more_often_than_with_stock(
    redis_url: str,
) -> None:
    """Late is late: the attempt is over, and the next one is not queued behind it."""
    # From Redis 7.2 and in Valkey TIME stands still while a script runs; before 7.0 there is no `os`.
    busy = (
        "local has, clock = pcall(function() return os.clock end); "
        "local function now() if has then return clock() end; "
        "local t = redis.call('TIME'); return t[1] + t[2] / 1000000 end; "
        "local began = now(); redis.call('INCR', KEYS[1]); while now() - began < 0.4 do end; return 1"
    )
    executed = []
    for make in (redis.asyncio.Redis, Redis):
        client: Client = make.from_url(redis_url, socket_timeout=0.1, retry=Retry(NoBackoff(), 1))
        async with redis.asyncio.Redis.from_url(redis_url) as admin:
            await admin.delete("script")
            others = int((await admin.info("clients"))["connected_clients"])
            with pytest.raises(RedisTimeoutError):
                await client.eval(busy, 1, "script")
            async with asyncio.timeout(20):
                await admin.ping()
                while int((await admin.info("clients"))["connected_clients"]) > others:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            executed.append(int(await admin.get("script") or 0))
        await client.aclose()
    assert executed[1] <= executed[0] <= 2


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_loop_that_is_held_doubles_nothing(redis_url: str, run: Any) -> None:
    """The replies are there: they are read before anybody looks at the clock."""

    async def scene() -> None:
        async with Redis.from_url(redis_url, socket_timeout=0.3, retry=Retry(NoBackoff(), 3)) as client:
            await client.ping()
            for _ in range(2):
                calls = [asyncio.create_task(client.incr("n")) for _ in range(50)]
                await asyncio.sleep(0.002)
                time.sleep(0.7)  # noqa: ASYNC251  # what is tested
                await asyncio.gather(*calls)
            assert await client.get("n") == b"100"
            assert client.counts().retried == 0

    run(scene())
