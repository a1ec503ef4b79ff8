"""Components beside the turns: arms, loops and cells of `python -m bench.postgres` and `bench.redis`.

The code that takes a connection, stores a row or reads a key is theirs; here it is only interleaved and
judged like everything else.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
import sqlalchemy as sa

from bench.postgres import arms as pools
from bench.postgres import bursts, writes
from bench.postgres.loops import Block as PoolBlock
from bench.postgres.loops import closed, sleep_10_ms
from bench.redis import cells, service
from bench.redis.contenders import DEFAULT, GLIDE, OURS, PIPELINES, Contender, contenders
from bench.samples import Outcome, Sample
from bench.trial import Taken
from fluido.redis.benchmark import Block as CellBlock
from fluido.sqlalchemy import GroupWriter

WAITING_TASKS, WAITING_SIZE = 100, 10
INSERT_TASKS = 256
LANES_SIZE = 10
GET = cells.Cell("GET 64 B, 64 tasks", 64)
KEPT = 200
"""Single latencies that a block keeps; its figures are of all of them."""


@dataclass(frozen=True, slots=True)
class PartArm:
    """One arm of a component experiment; a block is one call of `take` with its seconds."""

    name: str
    take: Callable[[float], Awaitable[Taken]]
    block_s: float

    async def run(self, seed: int) -> Taken:
        """The requests are all alike, so the seed has nothing to choose."""
        del seed
        return await self.take(self.block_s)

    def lasting(self, block_s: float) -> Self:
        """The same for a longer or shorter block."""
        return replace(self, block_s=block_s)


@asynccontextmanager
async def waiting(url: str, block_s: float) -> AsyncIterator[list[PartArm]]:
    """100 callers on 10 connections; only the queue differs."""
    compared: dict[str, pools.Arm] = {
        "sqlalchemy": pools.stock(url, WAITING_SIZE),
        "asyncpg": pools.AsyncpgArm(url, WAITING_SIZE),
        "fluido": pools.fixed(url, WAITING_SIZE),
    }

    async def take(arm: pools.Arm, block_s: float) -> Taken:
        return _of_pool(await closed(arm, sleep_10_ms, tasks=WAITING_TASKS, duration_s=block_s))

    async with _open(compared.values()):
        yield [PartArm(name, partial(take, arm), block_s) for name, arm in compared.items()]


@asynccontextmanager
async def inserts(url: str, block_s: float) -> AsyncIterator[list[PartArm]]:
    """256 callers, each storing row after row and waiting for the commit."""
    stock, ours = pools.v1(url), pools.adaptive(url, most=15)

    async with _open([stock, ours]):
        async with ours.engine.begin() as connection:
            await connection.run_sync(writes.ROWS.metadata.drop_all)
            await connection.run_sync(writes.ROWS.metadata.create_all)
        writer = GroupWriter(ours.engine, writes.ROWS)

        async def autocommit(row: dict[str, object]) -> None:
            async with stock.engine.connect() as connection:
                await connection.execute(sa.insert(writes.ROWS), row)

        async def take(add: writes.Add, block_s: float) -> Taken:
            return _of_pool(await writes.store(add, INSERT_TASKS, block_s))

        try:
            yield [
                PartArm("autocommit", partial(take, autocommit), block_s),
                PartArm("group_writer", partial(take, writer.add), block_s),
            ]
        finally:
            await writer.close()


@asynccontextmanager
async def lanes(url: str, block_s: float) -> AsyncIterator[list[PartArm]]:
    """Short queries beside bursts of reports, on two pools of ten."""
    compared = {name: pools.fixed(url, LANES_SIZE) for name in ("no_lanes", "lanes")}

    async def take(name: str, block_s: float) -> Taken:
        return _of_pool(await bursts.mixed(compared[name], block_s, labelled=name == "lanes"))

    async with _open(compared.values()):
        yield [PartArm(name, partial(take, name), block_s) for name in compared]


@asynccontextmanager
async def redis_get(port: int, block_s: float) -> AsyncIterator[list[PartArm]]:
    """GET of 64 bytes by 64 callers."""
    async with contenders(port, (OURS, DEFAULT, PIPELINES, GLIDE)) as everybody:
        await cells.fill(everybody[0], GET.value_bytes)

        async def take(contender: Contender, block_s: float) -> Taken:
            return _of_cell(await cells.run(GET, contender, block_s))

        yield [PartArm(_NAMES[contender.name], partial(take, contender), block_s) for contender in everybody]


@asynccontextmanager
async def redis_service(port: int, block_s: float) -> AsyncIterator[list[PartArm]]:
    """A service that reads three keys and writes one for each request; its callers are another process."""
    async with contenders(port, (OURS, DEFAULT)) as everybody:
        await cells.fill(everybody[0], GET.value_bytes)

        async def take(contender: Contender, block_s: float) -> Taken:
            return _of_cell(await service.serve(contender, block_s))

        yield [PartArm(_NAMES[contender.name], partial(take, contender), block_s) for contender in everybody]


_NAMES = {OURS: "fluido", DEFAULT: "redis_py", PIPELINES: "pipelines", GLIDE: "glide"}


@asynccontextmanager
async def _open(arms: Iterable[pools.Arm]) -> AsyncIterator[None]:
    async with AsyncExitStack() as closing:
        for arm in arms:
            await arm.open()
            closing.push_async_callback(arm.close)
        yield


def _of_pool(block: PoolBlock) -> Taken:
    figures = {
        "per_s": block.rate,
        "requests": float(len(block.totals)),
        **_quantiles("total_s", block.totals),
    }
    if block.turns:
        figures |= {"jain": block.fairness, **_quantiles("wait_s", block.waits)}
    return Taken(_thinned(block.totals), figures)


def _of_cell(block: CellBlock) -> Taken:
    figures = {"per_s": block.rate, "requests": float(block.calls), "cpu_us": block.cpu_us}
    return Taken(_thinned(block.latencies_s), {**figures, **_quantiles("total_s", block.latencies_s)})


def _quantiles(name: str, values: Sequence[float]) -> dict[str, float]:
    if not len(values):
        return {}
    p50, p99, longest = np.quantile(values, (0.5, 0.99, 1.0))
    return {f"{name}_p50": float(p50), f"{name}_p99": float(p99), f"{name}_longest": float(longest)}


def _thinned(latencies_s: Sequence[float]) -> list[Sample]:
    """An even part of them, sorted: the distribution stays, the file stays small."""
    ordered = sorted(latencies_s)
    step = max(1, len(ordered) // KEPT)
    return [Sample(0.0, 0.0, value, Outcome.ANSWERED) for value in ordered[step // 2 :: step]]
