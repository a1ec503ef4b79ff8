"""What errors tell: which pool, who holds its permits since when, which argument to raise."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido import Gate, WriteBehind, label
from fluido.errors import BufferFull, Closed, LimitReached, WaitTimeout
from fluido.laws._fixed import Fixed
from fluido.sqlalchemy import Limits, PoolQueueFull, PoolTimeout, close_engine, create_async_engine, pool_of

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


@asynccontextmanager
async def held(url: str, *labels: str, **arguments: Any) -> AsyncIterator[AsyncEngine]:
    """An engine whose connections are in use at the server, one under each label."""
    engine = create_async_engine(url, pool_timeout=0.1, **arguments)
    entered = asyncio.Semaphore(0)

    async def holder(name: str) -> None:
        with label(name):
            async with engine.connect() as connection:
                entered.release()
                await connection.execute(sa.text("SELECT pg_sleep(30)"))

    tasks = [asyncio.create_task(holder(name)) for name in labels]
    try:
        for _ in tasks:
            await entered.acquire()
        while len(pool_of(engine).holds) < len(tasks):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        yield engine
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await close_engine(engine)


async def refusal(engine: AsyncEngine, kind: type[Exception] = PoolTimeout) -> str:
    with pytest.raises(kind) as refused:
        async with engine.connect():
            pass
    return str(refused.value)


async def test_a_pool_of_stock_size_names_who_holds_it_and_what_to_raise(postgres_url: str) -> None:
    arguments = {"pool_size": 2, "max_overflow": 1, "pool_logging_name": "orders"}
    async with held(postgres_url, "report", "report", "", **arguments) as engine:
        said = await refusal(engine)
    assert said.startswith("pool orders (postgresql+asyncpg://127.0.0.1:"), said
    assert "(pool_timeout)" in said
    assert "Held by 'report' 2 (longest " in said
    assert "no label 1 (longest " in said
    assert "test_operator_errors.py" in said  # where the longest is
    assert "raise pool_size or max_overflow" in said
    assert "Pool size: 2 " in said
    assert "sentinel:" not in said  # no user, no password


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"limit": Limits(min=1, max=2)}, "raise Limits(max=2)"),
        ({"limit": Limits(min=1, max=9), "law": Fixed(2)}, "The law holds the limit at 2 of 9"),
    ],
)
async def test_the_argument_to_raise_is_the_one_that_binds(
    postgres_url: str, arguments: dict[str, Any], wanted: str
) -> None:
    async with held(postgres_url, "a", "b", **arguments) as engine:
        assert wanted in await refusal(engine)


async def test_a_pin_and_the_grant_of_the_server_are_told_as_what_binds(postgres_url: str) -> None:
    async with held(postgres_url, "a", limit=Limits(min=1, max=9)) as engine:
        pool_of(engine).pin(1)
        assert "pinned at 1: pin() it higher" in await refusal(engine)
        pool_of(engine).unpin()
        pool_of(engine).cap(1)
        assert "The server grants 1 connections: raise its max_connections" in await refusal(engine)


async def test_a_full_queue_names_its_bound(postgres_url: str) -> None:
    async with held(postgres_url, "a", limit=Limits(min=1, max=1, max_waiting=0)) as engine:
        assert "Limits.max_waiting is 0" in await refusal(engine, PoolQueueFull)


async def test_a_closed_engine_is_named(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, pool_logging_name="orders")
    await close_engine(engine)
    said = await refusal(engine, Closed)
    assert "The engine of pool orders (postgresql" in said
    assert "closed by close_engine()" in said


async def never(items: Sequence[int]) -> None:
    await asyncio.get_running_loop().create_future()


async def test_every_bounded_queue_names_itself_and_the_argument_that_bounds_it() -> None:
    gate = Gate(1, max_waiting=0, name="door")
    await gate.acquire()
    with pytest.raises(LimitReached, match=r"for door \(max_waiting is 0\)"):
        await gate.acquire()
    gate.close()
    with pytest.raises(Closed, match="door is closed"):
        await gate.acquire()
    patient = Gate(1, max_waiting=1, name="door", clock=asyncio.get_running_loop().time)
    await patient.acquire()
    with pytest.raises(WaitTimeout, match="for a permit of door"):
        await patient.acquire(deadline_s=asyncio.get_running_loop().time() + 0.01)
    log = WriteBehind(never, name="log", max_pending=1)
    log.offer(1)
    with pytest.raises(BufferFull, match="in log, whose max_pending is 1"):
        log.offer(2)
    await log.close(timeout_s=0.0)
