"""The clients that are compared, behind the three calls the workloads need."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import coredis
import glide
import redis.asyncio

import fluido.redis

Get = Callable[[str], Awaitable[Any]]
Set = Callable[[str, bytes], Awaitable[Any]]
GetMany = Callable[[Sequence[str]], Awaitable[Any]]

OURS = "fluido.redis"
DEFAULT = "redis-py"
BLOCKING = "redis-py, pool of 20"
PIPELINES = "redis-py, explicit pipelines"
GLIDE = "valkey-glide"
COREDIS = "coredis"
NAMES = (OURS, DEFAULT, BLOCKING, PIPELINES, GLIDE, COREDIS)
MOST_CALLERS = 2048


@dataclass(frozen=True, slots=True)
class Contender:
    """A client. With `get_many`, one caller collects what all callers want into explicit pipelines."""

    name: str
    get: Get
    set: Set
    get_many: GetMany | None = None


@asynccontextmanager
async def contenders(port: int, names: Sequence[str] = NAMES) -> AsyncIterator[list[Contender]]:
    """Connected clients, in the order of `names`; closed at the end."""
    async with AsyncExitStack() as stack:
        yield [await _make(name, port, stack) for name in names]


async def _make(name: str, port: int, stack: AsyncExitStack) -> Contender:
    if name == GLIDE:
        return await _glide(port, stack)
    if name == COREDIS:
        client = await stack.enter_async_context(coredis.Redis(port=port, max_connections=MOST_CALLERS))
        return Contender(name, client.get, client.set)
    python = _redis_py(name, port)
    stack.push_async_callback(python.aclose)
    if name != PIPELINES:
        return Contender(name, python.get, python.set)

    async def get_many(keys: Sequence[str]) -> Any:
        pipe = python.pipeline(transaction=False)
        for key in keys:
            pipe.get(key)
        return await pipe.execute()

    return Contender(name, python.get, python.set, get_many)


def _redis_py(name: str, port: int) -> redis.asyncio.Redis:
    if name == OURS:
        return fluido.redis.Redis(port=port)
    if name == BLOCKING:
        pool = redis.asyncio.BlockingConnectionPool(port=port, max_connections=20, timeout=None)
        return redis.asyncio.Redis.from_pool(pool)
    # The default limit of 100 connections would turn the larger loads into errors.
    return redis.asyncio.Redis(port=port, max_connections=MOST_CALLERS)


async def _glide(port: int, stack: AsyncExitStack) -> Contender:
    configuration = glide.GlideClientConfiguration(
        [glide.NodeAddress("localhost", port)], request_timeout=30_000, inflight_requests_limit=MOST_CALLERS
    )
    client = await glide.GlideClient.create(configuration)
    stack.push_async_callback(client.close)
    return Contender(GLIDE, client.get, client.set)
