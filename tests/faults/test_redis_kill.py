"""A real server that is killed, started again, or stops reading, under load."""

import asyncio
import signal
from collections.abc import Callable, Iterator

import pytest
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

import embedded
from embedded.folder import DataFolder
from fluido.redis import Redis, Sharing
from fluido.redis._link import Link

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


@pytest.fixture
def server() -> Iterator[embedded.Redis]:
    data = DataFolder(None)
    server = embedded.Redis(data.take(), password="")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        data.release()


@pytest.mark.parametrize("delivery", ["retry", "safe"])
async def test_a_killed_server_costs_errors_and_never_a_wrong_reply(
    server: embedded.Redis, delivery: str
) -> None:
    sharing = Sharing(delivery="safe" if delivery == "safe" else "retry")
    retry = Retry(ConstantBackoff(0.02), 20)
    client = Redis.from_url(server.url(), retry=retry, sharing=sharing)
    stop = asyncio.Event()
    done: dict[str, int] = {"good": 0, "failed": 0}

    async def ask(number: int) -> None:
        round_number = 0
        while not stop.is_set():
            round_number += 1
            mine = f"{number}:{round_number}"
            try:
                assert await client.echo(mine) == mine.encode()
                done["good"] += 1
            except (RedisConnectionError, RedisTimeoutError):
                done["failed"] += 1
                await asyncio.sleep(0.01)

    callers = [asyncio.create_task(ask(number)) for number in range(64)]
    for _ in range(2):
        await _until(lambda: done["good"] > 500)
        assert server.child is not None
        server.child.kill()
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.start_again)
        done["good"] = 0
        await _until(lambda: done["good"] > 500)
    stop.set()
    await asyncio.gather(*callers)
    assert client.counts().opened >= 3
    assert client.stats().inflight == client.stats().waiting == 0
    await client.aclose()


async def test_safe_delivery_counts_no_write_twice(server: embedded.Redis) -> None:
    """Every INCR that succeeded is in the data once; one that failed may be or not, but never twice."""
    client = Redis.from_url(
        server.url(), retry=Retry(ConstantBackoff(0.02), 50), sharing=Sharing(delivery="safe")
    )
    watcher = Redis.from_url(server.url())
    good = failed = 0

    async def count() -> None:
        nonlocal good, failed
        for _ in range(200):
            try:
                await client.incr("n")
                good += 1
            except RedisConnectionError:
                failed += 1

    async def cut() -> None:
        for _ in range(10):
            await asyncio.sleep(0.005)
            await watcher.client_kill_filter(_type="normal", skipme=True)

    await asyncio.gather(cut(), *[count() for _ in range(20)])
    counted = int(await watcher.get("n") or 0)
    assert good <= counted <= good + failed
    assert good + failed == 4000
    assert client.counts().opened > 1
    await client.aclose()
    await watcher.aclose()


async def test_a_server_that_stops_reading_fills_no_memory(server: embedded.Redis) -> None:
    limit = 1 << 20
    client = Redis.from_url(
        server.url(), retry=Retry(NoBackoff(), 0), socket_timeout=0.5, sharing=Sharing(max_bytes=limit)
    )
    await client.ping()
    assert server.child is not None
    server.child.signal(signal.SIGSTOP)
    try:
        calls = [asyncio.create_task(client.set(f"k{n}", b"x" * 50_000)) for n in range(1000)]
        held = 0
        while not all(call.done() for call in calls):
            await asyncio.sleep(0.01)
            mux = client._mux
            assert mux is not None
            held = max([held, *[_held_bytes(link) for link in mux._links]])
        results = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        server.child.signal(signal.SIGCONT)
    assert all(isinstance(result, RedisTimeoutError | RedisConnectionError) for result in results)
    assert 0 < held < 4 * limit  # 50 MB were offered
    assert await client.ping()
    await client.aclose()


def _held_bytes(link: Link) -> int:
    return link.wire.transport.get_write_buffer_size() + link._unsent_bytes


async def _until(condition: Callable[[], bool], patience_s: float = 10.0) -> None:
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110  # the condition is another process's doing
            await asyncio.sleep(0.005)
