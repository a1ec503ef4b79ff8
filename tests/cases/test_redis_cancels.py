"""A cancellation that redis-py's own code drops on Python 3.11 ends whoever waits for long.

saq's queue: `TestJobRedisQueue::test_refresh` hung with ours, as it does with stock when its pool is empty.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fluido.redis import Redis

from .redis_versions import sharing

pytestmark = [pytest.mark.anyio, pytest.mark.servers, sharing]


class Loss:
    """Cancels a task while it opens a connection, and drops that as `asyncio.wait_for` of 3.11 does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lost = 0

    async def connect(self, connection: Any) -> None:
        """What a client takes as `redis_connect_func`."""
        await connection.on_connect()
        task = asyncio.current_task()
        if task is not None and task.get_name() == self.name:
            task.cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.lost += 1


async def listen(client: Redis) -> None:
    listener: Any = client.pubsub()
    try:
        await listener.psubscribe("news:*")
        while True:
            await listener.get_message(timeout=None)
    finally:
        await listener.aclose()


async def pop(client: Redis) -> None:
    await client.blpop(["queue"], timeout=30)


@pytest.fixture
async def clients(redis_url: str) -> AsyncIterator[tuple[Redis, Loss]]:
    loss = Loss("worker")
    async with Redis.from_url(redis_url, redis_connect_func=loss.connect) as client:
        await client.flushdb()
        yield client, loss


@pytest.mark.parametrize("wait", [listen, pop])
async def test_a_cancellation_lost_while_connecting_ends_the_wait(
    clients: tuple[Redis, Loss], wait: Callable[[Redis], Awaitable[None]]
) -> None:
    client, loss = clients
    await client.set("a", 1)
    worker = asyncio.ensure_future(wait(client))
    worker.set_name("worker")
    done, _ = await asyncio.wait([worker], timeout=5)
    worker.cancel()
    assert loss.lost == 1
    assert done, "it went on after it had been cancelled"
    assert worker.cancelled()
    assert await client.rpush("queue", "element") == 1
    assert await client.lpop("queue") == b"element"


async def test_a_cancellation_that_was_noticed_before_stops_nothing(clients: tuple[Redis, Loss]) -> None:
    """A worker that tidies up after CancelledError may still subscribe and pop."""
    client, _ = clients
    tidied: list[Any] = []

    async def work() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            listener: Any = client.pubsub()
            await listener.subscribe("news")
            tidied.append(await listener.get_message(timeout=5))
            await listener.aclose()
            tidied.append(await client.blpop(["queue"], timeout=5))
            raise

    await client.rpush("queue", "element")
    worker = asyncio.create_task(work())
    await asyncio.sleep(0)
    worker.cancel()
    await asyncio.wait([worker], timeout=10)
    assert worker.cancelled()
    assert tidied[0]["type"] == "subscribe"
    assert tidied[1] is not None
