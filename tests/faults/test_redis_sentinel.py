"""A failover led by real sentinels: one primary, two replicas, three sentinels."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from embedded.ports import free_port
from embedded.redis import program
from fluido.redis import Redis

pytestmark = [pytest.mark.anyio, pytest.mark.servers]
DOWN_AFTER_MS = 500


class Constellation:
    """Starts the six processes and stops them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port() for _ in range(6)]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def sentinels(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", port) for port in self.ports[3:]]

    def start(self) -> None:
        primary = self.ports[0]
        self._run(primary, "")
        for port in self.ports[1:3]:
            self._run(port, f"replicaof 127.0.0.1 {primary}\nrepl-diskless-sync no\n")
        for port in self.ports[3:]:
            watch = (
                f"sentinel monitor main 127.0.0.1 {primary} 2\n"
                f"sentinel down-after-milliseconds main {DOWN_AFTER_MS}\n"
                "sentinel failover-timeout main 3000\nsentinel parallel-syncs main 2\n"
            )
            self._run(port, watch, "--sentinel")

    def _run(self, port: int, text: str, *more: str) -> None:
        home = self.folder / str(port)
        home.mkdir()
        configuration = home / "redis.conf"
        configuration.write_text(f'bind 127.0.0.1\nport {port}\ndir "{home}"\nsave ""\n{text}')
        self.processes[port] = subprocess.Popen(
            [str(program()), str(configuration), *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self, port: int) -> None:
        self.processes[port].kill()

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()


@pytest.fixture
def constellation(tmp_path: Path) -> Iterator[Constellation]:
    constellation = Constellation(tmp_path)
    try:
        constellation.start()
        yield constellation
    finally:
        constellation.stop()


async def test_a_failover_moves_the_shared_connection(constellation: Constellation) -> None:
    sentinel = Sentinel(constellation.sentinels, socket_timeout=0.3)
    await _until_ready(sentinel)
    retry = Retry(ConstantBackoff(0.05), 2)
    client = sentinel.master_for("main", redis_class=Redis, socket_timeout=0.5, retry=retry)
    assert isinstance(client, Redis)
    _, old_port = await sentinel.discover_master("main")
    good: list[float] = []
    stop = asyncio.Event()

    async def ask(number: int) -> None:
        round_number = 0
        while not stop.is_set():
            round_number += 1
            mine = f"{number}:{round_number}"
            try:
                assert await client.set(f"key{number}", mine)
                assert await client.echo(mine) == mine.encode()
                good.append(time.perf_counter())
            except (RedisConnectionError, RedisTimeoutError):
                await asyncio.sleep(0.01)

    callers = [asyncio.create_task(ask(number)) for number in range(32)]
    await _until(lambda: len(good) > 500)
    killed_s = time.perf_counter()
    constellation.kill(old_port)
    await _until(lambda: bool(good) and good[-1] > killed_s + 0.2, patience_s=20.0)
    first_s = next(at_s for at_s in good if at_s > killed_s + 0.2) - killed_s
    await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*callers)
    _, new_port = await sentinel.discover_master("main")
    assert new_port != old_port
    print(f"first success {first_s:.2f} s after the kill, sentinels wait {DOWN_AFTER_MS} ms")
    assert first_s < 15.0
    assert client.counts().opened >= 2
    await client.aclose()
    await sentinel.aclose()


async def _until_ready(sentinel: Sentinel) -> None:
    async with asyncio.timeout(20.0):
        while True:
            try:
                states = [await each.sentinel_master("main") for each in sentinel.sentinels]
                if all(s["num-slaves"] == 2 and s["num-other-sentinels"] == 2 for s in states):
                    return
            except RedisError:
                pass
            await asyncio.sleep(0.1)


async def _until(condition: Callable[[], bool], patience_s: float = 10.0) -> None:
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110  # the condition is another process's doing
            await asyncio.sleep(0.01)
