"""Rows a second and the wait of one caller: one INSERT each, or one for many."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import sqlalchemy as sa

from bench.postgres import arms
from bench.postgres.loops import Block
from bench.postgres.record import Measured, latencies_of
from fluido.sqlalchemy import GroupWriter, Limits

ROWS = sa.Table(
    "bench_rows",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("n", sa.Integer),
)

Add = Callable[[dict[str, Any]], Awaitable[object]]


async def inserts(url: str, *, tasks: int, blocks: int, block_s: float) -> AsyncIterator[Measured]:
    """`tasks` tasks, each storing one row after the other and waiting for its commit."""
    stock, ours = arms.v1(url), arms.adaptive(url, most=15)
    await stock.open()
    await ours.open()
    async with ours.engine.begin() as connection:
        await connection.run_sync(ROWS.metadata.drop_all)
        await connection.run_sync(ROWS.metadata.create_all)
    insert = sa.insert(ROWS)

    async def autocommit(row: dict[str, Any]) -> None:
        async with stock.engine.connect() as connection:
            await connection.execute(insert, row)

    writer = GroupWriter(ours.engine, ROWS)
    compared: dict[str, Add] = {"autocommit": autocommit, "GroupWriter": writer.add}
    found: dict[str, list[Block]] = {name: [] for name in compared}
    for index in range(blocks + 1):
        for name in list(compared) if index % 2 == 0 else list(compared)[::-1]:
            block = await store(compared[name], tasks, block_s)
            if index:
                found[name].append(block)
    await writer.close()
    await stock.close()
    await ours.close()
    for name, measured in found.items():
        yield Measured(f"inserts, {tasks} tasks", name, "rows/s", [[block.rate] for block in measured])
        for metric, values in latencies_of(measured):
            yield Measured(f"inserts, {tasks} tasks", name, metric, values)


async def store(add: Add, tasks: int, duration_s: float) -> Block:
    """One stretch of `tasks` tasks that add row after row."""
    block = Block()
    started_s = time.perf_counter()
    end_s = started_s + duration_s

    async def task(number: int) -> None:
        while (asked_s := time.perf_counter()) < end_s:
            await add({"name": f"user {number}", "n": number})
            block.totals.append(time.perf_counter() - asked_s)

    await asyncio.gather(*(task(number) for number in range(tasks)))
    block.span_s = time.perf_counter() - started_s
    return block


async def one_caller(url: str, *, blocks: int, calls: int) -> AsyncIterator[Measured]:
    """A transaction of one statement, one after the other: what fluido costs when nothing binds."""
    compared: list[arms.EngineArm] = [
        arms.v1(url),
        arms.FluidoArm("fluido", arms.fluido_engine(url, Limits(min=2, max=50))),
    ]
    found: dict[str, list[list[float]]] = {arm.name: [] for arm in compared}
    for arm in compared:
        await arm.open()
    for index in range(blocks + 1):
        for arm in compared if index % 2 == 0 else compared[::-1]:
            times = []
            for _ in range(calls):
                started_s = time.perf_counter()
                async with arm.acquire() as execute:
                    await execute("SELECT 1")
                times.append(1e6 * (time.perf_counter() - started_s))
            if index:
                found[arm.name].append([sorted(times)[calls // 2]])
    for arm in compared:
        await arm.close()
        yield Measured("one caller", arm.name, "p50 us", found[arm.name])
