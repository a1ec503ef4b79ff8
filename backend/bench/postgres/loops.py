"""Load: tasks that come back at once, or calls that arrive by the clock, whatever became of the last."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bench.postgres.arms import Arm, Execute

_CALLS = itertools.count()

Work = Callable[[Execute], Awaitable[object]]


@dataclass(slots=True)
class Block:
    """What one arm did in one stretch of time, in seconds.

    `ended` are times on the clock, `turns` is how often each task had its turn.
    """

    waits: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    span_s: float = 0.0

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.totals) / self.span_s if self.span_s else 0.0


async def call(arm: Arm, work: Work, block: Block, asked_s: float) -> None:
    """One call, with its wait for a connection and its whole time."""
    async with arm.acquire() as execute:
        block.waits.append(time.perf_counter() - asked_s)
        await work(execute)
    ended_s = time.perf_counter()
    block.totals.append(ended_s - asked_s)
    block.ended.append(ended_s)


async def closed(arm: Arm, work: Work, *, tasks: int, duration_s: float) -> Block:
    """`tasks` tasks, each asking again as soon as it was served."""
    block = Block()
    started_s = time.perf_counter()
    end_s = started_s + duration_s

    async def task() -> None:
        while (asked_s := time.perf_counter()) < end_s:
            await call(arm, work, block, asked_s)

    await asyncio.gather(*(task() for _ in range(tasks)))
    block.span_s = time.perf_counter() - started_s
    return block


async def opened(arm: Arm, work: Work, arrivals_s: list[float]) -> Block:
    """Calls at the given times; a late call counts from when it should have been made."""
    block = Block()
    started_s = time.perf_counter()
    running: set[asyncio.Task[None]] = set()
    for at_s in arrivals_s:
        due_s = started_s + at_s
        delay_s = due_s - time.perf_counter()
        if delay_s > 0.001:
            await asyncio.sleep(delay_s)
        task = asyncio.create_task(call(arm, work, block, due_s))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.gather(*running)
    block.span_s = time.perf_counter() - started_s
    return block


async def sleep_10_ms(execute: Execute) -> object:
    """A transaction of 10 ms that needs nothing of the server."""
    return await execute("SELECT pg_sleep(0.01)")


async def compute(execute: Execute) -> object:
    """Some milliseconds of one core."""
    return await execute("SELECT sum(sqrt(i)) FROM generate_series(1, 20000) AS s(i)")


async def commit(execute: Execute) -> object:
    """One row, one commit."""
    return await execute("INSERT INTO bench_log (body) VALUES ('x')")


async def one_hot_row(execute: Execute) -> object:
    """Everybody updates the same row."""
    return await execute("UPDATE bench_hot SET n = n + 1 WHERE id = 1")


async def mixed(execute: Execute) -> object:
    """A short statement; two in a hundred wait for a hundred times as long."""
    if next(_CALLS) % 50:
        return await execute("SELECT sum(sqrt(i)) FROM generate_series(1, 2000) AS s(i)")
    return await execute("SELECT pg_sleep(0.05)")


async def two_hot_rows(execute: Execute) -> object:
    """A transaction that holds one hot row while it waits for the next."""
    return await execute(
        "DO $$ BEGIN UPDATE bench_hot SET n = n + 1 WHERE id = 1;"
        " UPDATE bench_hot SET n = n + 1 WHERE id = 2; END $$"
    )
