"""Both clients side by side on a server of yours: what sharing one connection is worth there.

Callers in a closed loop read small values that this module writes under its own prefix and deletes at the
end. The clients take turns in short blocks, the one that begins changes every round, and a ratio is taken
within a round: what slows the machine for a while slows both.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import redis.asyncio

from fluido.redis._client import Redis

KEYS = 64
STOCK = "redis.asyncio"
OURS = "fluido.redis"

Get = Callable[[str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Block:
    """What one client did in one block. CPU is that of this process, all threads."""

    calls: int
    wall_s: float
    cpu_s: float
    latencies_s: Sequence[float]

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.wall_s

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a call."""
        return self.cpu_s / self.calls * 1e6

    def latency_s(self, q: float) -> float:
        """A quantile of the latency."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


async def closed_loop(get: Get, keys: Sequence[str], tasks: int, duration_s: float) -> Block:
    """So many callers, each with exactly one call in hand."""
    latencies_s: list[float] = []
    until_s = time.perf_counter() + duration_s

    async def caller(key: str) -> None:
        ended_s = 0.0
        while ended_s < until_s:
            begun_s = time.perf_counter()
            await get(key)
            ended_s = time.perf_counter()
            latencies_s.append(ended_s - begun_s)

    before_s, began_s = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller(keys[number % len(keys)]) for number in range(tasks)))
    wall_s = time.perf_counter() - began_s
    return Block(len(latencies_s), wall_s, time.process_time() - before_s, latencies_s)


async def compare(
    url: str, *, tasks: int, value_bytes: int, rounds: int, block_s: float
) -> dict[str, list[Block]]:
    """The blocks of both clients, round by round; the round that warms up is left out.

    Raises what redis-py raises when the server cannot be reached.
    """
    prefix = f"fluido-benchmark:{uuid4().hex}:"
    keys = [f"{prefix}{number}" for number in range(KEYS)]
    async with AsyncExitStack() as stack:
        # redis-py's limit of 100 connections would turn more callers into errors.
        stock = redis.asyncio.Redis.from_url(url, max_connections=max(100, tasks + 1))
        ours = Redis.from_url(url)
        stack.push_async_callback(stock.aclose)
        stack.push_async_callback(ours.aclose)
        arms: list[tuple[str, Get]] = [(STOCK, stock.get), (OURS, ours.get)]
        found: dict[str, list[Block]] = {name: [] for name, _ in arms}
        try:
            for key in keys:
                await ours.set(key, b"v" * value_bytes, ex=3600)  # gone in an hour if we are killed
            for number in range(rounds + 1):
                for name, get in arms if number % 2 else arms[::-1]:
                    block = await closed_loop(get, keys, tasks, block_s if number else min(0.1, block_s))
                    if number:
                        found[name].append(block)
        finally:
            await ours.delete(*keys)
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """The median of the ratios within a round, the lowest and the highest."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
