"""Open loops: bursts on two hot rows, and short calls beside reports."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

from bench.postgres import arms
from bench.postgres.loops import Block, call, closed, opened, sleep_10_ms, two_hot_rows
from bench.postgres.record import Measured, latencies_of
from fluido import label

SHARES = (0.5, 0.8, 1.0, 1.2)
CYCLE_S, BURST_S = 12.0, 3.0
AVERAGE, PEAK = 0.6, 1.15
# What is left of the cycle carries the rest of the average load.
CALM = (AVERAGE * CYCLE_S - PEAK * BURST_S) / (CYCLE_S - BURST_S)


def arrivals(capacity_per_s: float, *, cycles: int, seed: int) -> list[float]:
    """Poisson arrivals: calm, then a burst above the capacity, on average 60 % of it."""
    generator = random.Random(seed)
    times: list[float] = []
    at_s = 0.0
    while at_s < cycles * CYCLE_S:
        share = PEAK if at_s % CYCLE_S >= CYCLE_S - BURST_S else CALM
        at_s += generator.expovariate(share * capacity_per_s)
        times.append(at_s)
    return times


async def hot_rows(url: str, *, cycles: int, blocks: int) -> AsyncIterator[Measured]:
    """The capacity is what the best small limit reaches; the arms get the same arrivals."""
    probe = arms.fixed(url, 4)
    await probe.open()
    await closed(probe, two_hot_rows, tasks=32, duration_s=1.0)
    capacity_per_s = (await closed(probe, two_hot_rows, tasks=32, duration_s=4.0)).rate
    await probe.close()
    yield Measured("burst on hot rows", "best static, closed loop", "calls/s", [[capacity_per_s]])
    compared: list[arms.Arm] = [arms.v1(url), arms.adaptive(url)]
    found: dict[str, list[Block]] = {arm.name: [] for arm in compared}
    drained: dict[str, list[list[float]]] = {arm.name: [] for arm in compared}
    for arm in compared:
        await arm.open()
    for index in range(blocks):
        times = arrivals(capacity_per_s, cycles=cycles, seed=index)
        for arm in compared if index % 2 == 0 else compared[::-1]:
            block = await opened(arm, two_hot_rows, times)
            found[arm.name].append(block)
            drained[arm.name].append([max(0.001, block.span_s - times[-1])])
    for arm in compared:
        await arm.close()
        for name, values in latencies_of(found[arm.name]):
            yield Measured("burst on hot rows", arm.name, name, values)
        # A cycle ends with its burst, and the next one would begin with CYCLE_S - BURST_S = 9 s of calm.
        yield Measured("burst on hot rows", arm.name, "drained after s", drained[arm.name])


async def loads(url: str, *, blocks: int, block_s: float) -> AsyncIterator[Measured]:
    """An open loop of transactions of 10 ms at shares of what V1 reaches in a closed one."""
    compared: list[arms.Arm] = [arms.v1(url), arms.adaptive(url)]
    for arm in compared:
        await arm.open()
        await closed(arm, sleep_10_ms, tasks=100, duration_s=2.0)
    capacity_per_s = (await closed(compared[0], sleep_10_ms, tasks=100, duration_s=4.0)).rate
    for share in SHARES:
        found: dict[str, list[Block]] = {arm.name: [] for arm in compared}
        for index in range(blocks):
            times = poisson(share * capacity_per_s, block_s, seed=index)
            for arm in compared if index % 2 == 0 else compared[::-1]:
                found[arm.name].append(await opened(arm, sleep_10_ms, times))
        for arm in compared:
            for name, values in latencies_of(found[arm.name]):
                yield Measured(f"open loop, {share:.0%} of V1", arm.name, name, values)
    for arm in compared:
        await arm.close()


def poisson(rate_per_s: float, duration_s: float, *, seed: int) -> list[float]:
    """Arrivals at one rate."""
    generator = random.Random(seed)
    times = [generator.expovariate(rate_per_s)]
    while times[-1] < duration_s:
        times.append(times[-1] + generator.expovariate(rate_per_s))
    return times


async def lanes(url: str, *, blocks: int, block_s: float) -> AsyncIterator[Measured]:
    """Short calls beside bursts of reports of 500 ms, on ten connections, without and with labels."""
    for labelled in (False, True):
        arm = arms.fixed(url, 10)
        await arm.open()
        found = [await mixed(arm, block_s, labelled=labelled) for _ in range(blocks + 1)][1:]
        await arm.close()
        for name, values in latencies_of(found):
            yield Measured("light calls beside reports", "lanes" if labelled else "no lanes", name, values)


async def mixed(arm: arms.Arm, duration_s: float, *, labelled: bool) -> Block:
    """One stretch of both; what is returned are the short calls."""
    light, heavy = Block(), Block()
    end_s = time.perf_counter() + duration_s

    async def short() -> None:
        with label("chat" if labelled else ""):
            while (asked_s := time.perf_counter()) < end_s:
                await call(arm, lambda execute: execute("SELECT pg_sleep(0.002)"), light, asked_s)
                await asyncio.sleep(0.02)

    async def report() -> None:
        with label("report" if labelled else ""):
            await call(arm, lambda execute: execute("SELECT pg_sleep(0.5)"), heavy, time.perf_counter())

    async def reports() -> None:
        while time.perf_counter() < end_s:
            await asyncio.gather(*(report() for _ in range(20)))
            await asyncio.sleep(0.3)

    await asyncio.gather(*(short() for _ in range(16)), reports())
    light.span_s = duration_s
    return light
