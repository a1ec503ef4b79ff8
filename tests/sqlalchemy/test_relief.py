"""Permits of holders that are idle: lent, counted again, never lost. Without a server, in virtual time."""

import asyncio
import random

import pytest
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from fluido.sqlalchemy import AdaptivePool, PoolTimeout
from fluido.sqlalchemy._follower import Follower
from fluido.sqlalchemy._gate import ConnectionGate
from fluido.sqlalchemy._hold import Hold, hold_of
from fluido.testing.virtual_loop import VirtualLoop

from .fake_driver import FakeDriver


def pool_at(limit: float, *, max: int = 10, observed: bool = True) -> AdaptivePool:  # noqa: A002  (Limits' own word)
    pool = FakeDriver().pool(min=1, max=max, timeout=5.0, clock=asyncio.get_running_loop().time)
    pool.pin(limit)
    pool.observed = observed
    return pool


async def take(pool: AdaptivePool) -> PoolProxiedConnection:
    return await greenlet_spawn(pool.connect)


async def give(connection: PoolProxiedConnection) -> None:
    await greenlet_spawn(connection.close)


def hold(connection: PoolProxiedConnection) -> Hold:
    found = hold_of(connection)
    assert found is not None
    return found


def works(connection: PoolProxiedConnection, statement: str = "SELECT 1") -> None:
    """As a statement does that has begun and does not end."""
    mine = hold(connection)
    if mine.lent:
        mine.lent = False
        mine.gate.recall(mine.label)
    mine.statement, mine.working_since_s = statement, mine.limiter.clock()


def test_who_is_idle_lends_its_permit_and_takes_it_back_without_waiting() -> None:
    async def main() -> None:
        pool = pool_at(2)
        gate = pool.gate
        first, second = await take(pool), await take(pool)
        third = await take(pool)  # the two are idle
        assert (gate.inflight, gate.lent, gate.held) == (2, 1, 3) or gate.lent == 2
        works(first)
        works(second)
        assert gate.inflight >= 2, "more than the limit, and nobody waited"
        for connection in (first, second, third):
            await give(connection)
        assert (gate.inflight, gate.lent) == (0, 0)

    VirtualLoop().run(main())


def test_who_is_at_the_server_lends_nothing() -> None:
    async def main() -> None:
        pool = pool_at(2)
        first, second = await take(pool), await take(pool)
        works(first)
        works(second)
        with pytest.raises(PoolTimeout):
            await take(pool)
        works(first, "SELECT pg_advisory_lock(1)")
        await give(await take(pool))  # that one only waits for another client
        for connection in (first, second):
            await give(connection)

    VirtualLoop().run(main())


def test_never_more_than_max_and_nothing_is_lent_where_nobody_measures() -> None:
    async def main() -> None:
        pool = pool_at(2, max=4)
        kept = [await take(pool) for _ in range(4)]
        with pytest.raises(PoolTimeout):
            await take(pool)
        assert pool.gate.held == 4
        for connection in kept:
            await give(connection)
        blind = pool_at(2, observed=False)
        kept = [await take(blind) for _ in range(2)]
        with pytest.raises(PoolTimeout):
            await take(blind)
        for connection in kept:
            await give(connection)

    VirtualLoop().run(main())


def test_a_standstill_doubles_the_limit_and_comes_back() -> None:
    async def main() -> None:
        pool = FakeDriver().pool(min=2, max=16, start=2, timeout=30.0, clock=asyncio.get_running_loop().time)
        pool.observed = True
        kept: list[PoolProxiedConnection] = []

        async def stand() -> None:
            kept.append(await take(pool))
            works(kept[-1])

        await asyncio.gather(*(stand() for _ in range(9)))
        assert pool.gate.wanted == 16.0
        assert pool.stats().reasons["relief_standstill"] == 3
        for connection in kept:
            hold(connection).working_since_s = None
            await give(connection)
        await asyncio.sleep(10.0)
        assert pool.gate.wanted == 2.0, "the law's own value was not touched"

    VirtualLoop().run(main())


def test_the_timer_is_gone_when_nobody_waits() -> None:
    async def main() -> None:
        pool = pool_at(1)
        first = await take(pool)
        await give(await take(pool))
        await give(first)
        await asyncio.sleep(1.0)
        assert pool.relief._timer is None

    VirtualLoop().run(main())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_counts_are_those_of_the_holders(seed: int) -> None:
    draw = random.Random(seed)

    async def main() -> None:
        heavy = {"report"}
        gate = ConnectionGate(
            4.3,
            Follower(kept=1, open_every_s=0.0, idle_s=60.0, lifetime_s=None, unpaced=12),
            most=9,
            max_waiting=100,
            is_heavy=heavy.__contains__,
            clock=asyncio.get_running_loop().time,
            name="",
        )
        gate.laned = True
        holders: dict[object, bool] = {}  # whether its permit is lent

        async def holder() -> None:
            label = draw.choice(["", "report"])
            await gate.acquire(label=label)
            mine = object()
            holders[mine] = False
            try:
                await use(mine, label)
            finally:
                gate.give_back(label, lent=holders.pop(mine))

        async def use(mine: object, label: str) -> None:
            for _ in range(draw.randrange(6)):
                await asyncio.sleep(draw.random())
                if holders[mine]:
                    holders[mine] = False
                    gate.recall(label)
                elif draw.random() < 0.6:
                    holders[mine] = True
                    gate.lend(label)
                if draw.random() < 0.1:
                    gate.resize(draw.uniform(1.0, 9.0))
                assert len(holders) <= gate.held <= 9
                assert gate.lent == sum(holders.values())

        tasks = [asyncio.create_task(holder()) for _ in range(60)]
        for task in draw.sample(tasks, 10):
            asyncio.get_running_loop().call_later(0.0, task.cancel)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [error for error in ended if isinstance(error, Exception)]
        assert (gate.inflight, gate.lent, gate.waiting, gate.heavy_inflight) == (0, 0, 0, 0)

    VirtualLoop().run(main())
