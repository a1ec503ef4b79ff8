"""Blocking commands when something fails: as stock, and no element lost that stock keeps.

taskiq-redis#64, #65, orchestra#858 (a worker loses its connection), kodiak#861, vibetuner#1935, modelq#16 (a
path dies silently), redis-py#2807 (a wait longer than the socket timeout).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fluido.redis import Redis

from .narrow_path import NarrowPath
from .redis_versions import sharing

pytestmark = [pytest.mark.anyio, pytest.mark.servers, sharing]
CLIENTS = [redis.asyncio.Redis, Redis]
Client = Any


def address(url: str) -> dict[str, Any]:
    found = parse_url(url)
    return {"host": found["host"], "port": found["port"], "password": found["password"]}


async def until_blocked(admin: Client, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while (await admin.info("clients"))["blocked_clients"] < count:  # noqa: ASYNC110  # the server's doing
            await asyncio.sleep(0.005)


async def xgroup(client: Client) -> Any:
    await client.xgroup_create("s", "g", "$", mkstream=True)
    return await client.xreadgroup("g", "c", {"s": ">"}, block=20_000)


COMMANDS: dict[str, tuple[Callable[[Client], Any], Callable[[Client], Any]]] = {
    "blpop": (lambda r: r.blpop("q", timeout=20), lambda a: a.rpush("q", "x")),
    "brpop": (lambda r: r.brpop("q", timeout=0), lambda a: a.rpush("q", "x")),
    "blmove": (lambda r: r.blmove("q", "to", 20), lambda a: a.rpush("q", "x")),
    "brpoplpush": (lambda r: r.brpoplpush("q", "to", 20), lambda a: a.rpush("q", "x")),
    "bzpopmin": (lambda r: r.bzpopmin("z", 20), lambda a: a.zadd("z", {"x": 1})),
    "xread": (lambda r: r.xread({"s": "0"}, block=20_000), lambda a: a.xadd("s", {"x": 1}, id="1-1")),
    "xreadgroup": (xgroup, lambda a: a.xadd("s", {"x": 1}, id="1-1")),
    "by execute_command": (lambda r: r.execute_command("BLPOP", "q", "0"), lambda a: a.rpush("q", "x")),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_lost_connection_is_opened_again_as_in_stock(redis_url: str, name: str) -> None:
    wait, push = COMMANDS[name]
    got = []
    for make in CLIENTS:
        client, admin = make(**address(redis_url)), redis.asyncio.Redis.from_url(redis_url)
        await admin.flushall()
        waiting = asyncio.create_task(wait(client))
        await until_blocked(admin)
        await admin.client_kill_filter(_type="normal", skipme=True)
        await until_blocked(admin)
        await push(admin)
        async with asyncio.timeout(10):
            got.append(await waiting)
        await client.aclose()
        await admin.aclose()
    assert got[1] == got[0]


@pytest.mark.parametrize("make", CLIENTS)
async def test_without_retries_a_lost_connection_is_redis_pys_error(redis_url: str, make: Client) -> None:
    client = make(**address(redis_url), retry=Retry(NoBackoff(), 0))
    admin = redis.asyncio.Redis.from_url(redis_url)
    waiting = asyncio.create_task(client.blpop("q", timeout=0))
    await until_blocked(admin)
    await admin.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(RedisConnectionError):
        await waiting
    await client.aclose()
    await admin.aclose()


@pytest.mark.parametrize("timeout", [0, 60])
async def test_a_path_that_dies_silently_is_left(redis_url: str, timeout: float) -> None:
    """Stock reads for the socket timeout and asks again over a new connection."""
    there = address(redis_url)
    admin = redis.asyncio.Redis.from_url(redis_url)
    async with NarrowPath(there.pop("port")) as path:
        there["host"] = "127.0.0.1"
        client = Redis(port=path.here, socket_timeout=0.3, retry=Retry(NoBackoff(), 5), **there)
        waiting = asyncio.create_task(client.blpop("q", timeout=timeout))
        await until_blocked(admin)
        path.silence()
        async with asyncio.timeout(10):
            while path.opened < 2:  # noqa: ASYNC110  # the client's doing
                await asyncio.sleep(0.01)
        await until_blocked(admin)
        assert (await admin.info("clients"))["blocked_clients"] == 1  # what was left waits no more
        await admin.rpush("q", "x")
        async with asyncio.timeout(5):
            assert await waiting == (b"q", b"x")
        await client.aclose()
    await admin.aclose()


async def test_a_dead_path_without_retries_is_a_timeout_as_in_stock(redis_url: str) -> None:
    there, admin = address(redis_url), redis.asyncio.Redis.from_url(redis_url)
    for make in CLIENTS:
        async with NarrowPath(there["port"]) as path:
            client: Client = make(
                host="127.0.0.1", port=path.here, password=there["password"], socket_timeout=0.2,
                retry=Retry(NoBackoff(), 0),
            )  # fmt: skip
            waiting = asyncio.create_task(client.blpop("q", timeout=0))
            await until_blocked(admin)
            path.silence()
            with pytest.raises(RedisTimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting), 8)
            await client.aclose()
        await admin.client_kill_filter(_type="normal", skipme=True)
    await admin.aclose()


async def test_a_wait_longer_than_the_socket_timeout_ends_when_asked(redis_url: str) -> None:
    async with Redis.from_url(redis_url, socket_timeout=0.5) as client:
        began_s = time.monotonic()
        answers = await asyncio.gather(
            client.blpop("none", timeout=2.2),
            client.bzpopmax("none", timeout=2),
            client.xread({"none": "0"}, block=1500),
        )
        assert 2.1 < time.monotonic() - began_s < 8
        assert not any(answers)
        assert client.counts().opened == 0
    with pytest.raises(RedisTimeoutError):  # what stock makes of it
        async with redis.asyncio.Redis.from_url(redis_url, socket_timeout=0.1) as stock:
            await stock.blpop(["none"], timeout=2.2)


async def test_an_element_that_is_an_empty_string_is_an_answer(redis_url: str) -> None:
    async with Redis.from_url(redis_url, socket_timeout=1.0) as client:
        waiting = asyncio.create_task(client.brpoplpush("q", "to", 0))
        await asyncio.sleep(1.2)  # into the second piece
        await client.rpush("q", "")
        assert await asyncio.wait_for(waiting, 5) == b""


@pytest.mark.parametrize("make", CLIENTS)
async def test_what_was_started_before_runs_before(redis_url: str, make: Client) -> None:
    """saq's test_dequeue_fifo: one of its ordinary commands was overtaken by a blocking one."""
    async with make.from_url(redis_url) as client:
        for _ in range(20):
            await client.rpush("q", "x")
            assert await asyncio.gather(client.llen("q"), client.blpop("q", timeout=0)) == [1, (b"q", b"x")]


async def test_what_waits_for_the_first_link_runs_before_too(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        calls = [client.rpush("q", "x"), client.llen("q"), client.blpop(["q"], timeout=0)]
        assert await asyncio.gather(*calls) == [1, 1, (b"q", b"x")]
