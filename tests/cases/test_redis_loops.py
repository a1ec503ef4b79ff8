"""One client in several event loops: at once, in turn, after a fork. An answer or an error, never a hang.

redis-py#2838, #3351, channels_redis#332, #312, gcache#21, eventyay#1162 (Celery threads, async_to_sync).
"""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis
import uvloop

from fluido.redis import Redis

from .redis_versions import sharing

pytestmark = [pytest.mark.servers, sharing]
RUNNERS: list[Callable[[Coroutine[Any, Any, Any]], Any]] = [asyncio.run, uvloop.run]


@pytest.mark.parametrize("run", RUNNERS)
def test_threads_at_once_are_all_answered(redis_url: str, run: Callable[..., Any]) -> None:
    client = Redis.from_url(redis_url)
    done: list[int] = []

    async def work(number: int) -> None:
        async def one(part: int) -> None:
            for step in range(100):
                assert await client.set(f"k{number}.{part}", step)
                assert await client.get(f"k{number}.{part}") == b"%d" % step
                pipe = client.pipeline(transaction=bool(step % 2))
                assert await pipe.incr(f"n{number}").get(f"k{number}.{part}").execute()

        await asyncio.gather(*[one(part) for part in range(4)])
        done.append(int(await client.get(f"n{number}") or 0))

    threads = [threading.Thread(target=run, args=(work(number),), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert done == [400, 400, 400]
    assert client.connection_pool.max_connections == redis_limit()  # each loop closed its link at its end


def redis_limit() -> int:
    return redis.asyncio.ConnectionPool().max_connections


def test_a_loop_that_starts_a_command_and_stops_does_not_hold_up_the_next(redis_url: str) -> None:
    """The command was queued in the last tick of its loop; nobody writes it any more."""
    client = Redis.from_url(redis_url)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def leave_one_behind() -> None:
        await client.set("a", 1)
        first.call_soon(lambda: asyncio.ensure_future(client.set("late", 1), loop=first))

    first.run_until_complete(leave_one_behind())
    for _ in range(3):
        assert second.run_until_complete(asyncio.wait_for(client.get("a"), 5)) == b"1"
        assert first.run_until_complete(asyncio.wait_for(client.get("a"), 5)) == b"1"
    assert first.run_until_complete(client.get("late")) == b"1"
    for loop in (second, first):
        loop.run_until_complete(client.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_live_loops_in_turn_keep_their_links(redis_url: str) -> None:
    client = Redis.from_url(redis_url)
    loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]
    for number in range(20):
        assert loops[number % 2].run_until_complete(client.incr("n")) == number + 1
    assert client.counts().opened == 2
    for loop in loops:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


DEAD_LOOPS = """
import asyncio, sys
from fluido.redis import Redis
client = Redis.from_url(sys.argv[1])
limit = client.connection_pool.max_connections
for _ in range(3):
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(client.get("k")) for _ in range(20)]
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    loop.close()  # in the middle, without asking anybody
async def work():
    assert await asyncio.wait_for(client.set("k", 1), 5)
    await client.aclose()
asyncio.run(work())
assert client.connection_pool.max_connections <= limit + 3, client.connection_pool.max_connections
print("served")
"""


def test_a_loop_that_died_with_waiters_is_forgotten(redis_url: str) -> None:
    command = [sys.executable, "-c", DEAD_LOOPS, redis_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "served\n", done.stderr


def test_a_forked_process_has_links_of_its_own(redis_url: str) -> None:
    client = Redis.from_url(redis_url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.set("parent", 0))
    child = os.fork()
    if child == 0:
        code = 1
        try:

            async def work() -> None:
                for _ in range(50):
                    await client.incr("child")

            asyncio.run(asyncio.wait_for(work(), 10))
            code = 0
        finally:
            os._exit(code)
    for number in range(50):  # on the link that the child has inherited and must not touch
        assert loop.run_until_complete(asyncio.wait_for(client.incr("parent"), 5)) == number + 1
    assert os.waitpid(child, 0)[1] == 0
    assert loop.run_until_complete(client.get("child")) == b"50"
    assert client.counts().opened == 1
    loop.run_until_complete(client.aclose())
    loop.close()
