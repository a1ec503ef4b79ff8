"""Who waits how long for a connection when many share few, and how fast the whole goes."""

from collections.abc import AsyncIterator

from bench.postgres import arms
from bench.postgres.loops import Block, Work, closed, commit, compute, sleep_10_ms, two_hot_rows
from bench.postgres.record import Measured, blocks_of

TASKS = 100


async def waiting(url: str, *, tasks: int, size: int, blocks: int, block_s: float) -> AsyncIterator[Measured]:
    """Fixed sizes, so that only the queue differs. The ideal longest wait is one turn of everybody."""
    compared: list[arms.Arm] = [
        arms.stock(url, size),
        arms.AsyncpgArm(url, size),
        arms.PsycopgArm(url, size),
        arms.fixed(url, size),
    ]
    collected: dict[str, list[Block]] = {}
    for arm, block in await _interleaved(compared, tasks, blocks, block_s):
        collected.setdefault(arm, []).append(block)
    for arm, found in collected.items():
        for name, values in blocks_of(found):
            yield Measured(f"waiting {tasks} on {size}", arm, name, values)


async def _interleaved(
    compared: list[arms.Arm], tasks: int, blocks: int, block_s: float
) -> list[tuple[str, Block]]:
    found: list[tuple[str, Block]] = []
    for arm in compared:
        await arm.open()
        await closed(arm, sleep_10_ms, tasks=tasks, duration_s=1.0)
    for index in range(blocks):
        for arm in compared if index % 2 == 0 else compared[::-1]:
            block = await closed(arm, sleep_10_ms, tasks=tasks, duration_s=block_s)
            found.append((arm.name, block))
    for arm in compared:
        await arm.close()
    return found


SWEEP = (2, 4, 8, 15, 32, 96)
WORKLOADS = {"I/O": sleep_10_ms, "CPU": compute, "commits": commit, "two hot rows": two_hot_rows}


async def limits(url: str, *, settle_s: float, measure_s: float) -> AsyncIterator[Measured]:
    """A sweep of static limits, V1, and the adaptive pool from a cold start: calls a second."""
    for name, work in WORKLOADS.items():
        rates: dict[str, float] = {}
        for size in SWEEP:
            rates[f"static {size}"] = await _rate(arms.fixed(url, size), work, 0.3, measure_s)
        rates["V1 (5+10)"] = await _rate(arms.v1(url), work, 0.3, measure_s)
        arm = arms.adaptive(url)
        rates["fluido"] = await _rate(arm, work, settle_s, measure_s)
        best = max((label for label in rates if label.startswith("static")), key=rates.__getitem__)
        rates["best static again"] = await _rate(
            arms.fixed(url, int(best.removeprefix("static "))), work, 0.3, measure_s
        )
        for label, rate in rates.items():
            yield Measured(f"limit, {name}", label, "calls/s", [[rate]])


async def _rate(arm: arms.Arm, work: Work, warm_s: float, measure_s: float) -> float:
    await arm.open()
    await closed(arm, work, tasks=TASKS, duration_s=warm_s)
    block = await closed(arm, work, tasks=TASKS, duration_s=measure_s)
    await arm.close()
    return block.rate
