"""The adaptive pool, as one would use it, against a sweep of static limits on the same server."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.postgres import arms
from bench.postgres.agreement import agreement
from bench.postgres.loops import Work, closed, commit, compute, one_hot_row, sleep_10_ms, two_hot_rows
from bench.postgres.record import Measured

TASKS = 100
MOST = 96
WINDOW_S = 2.0
LOOK_S = 0.25
WORKLOADS: dict[str, Work] = {
    "I/O": sleep_10_ms,
    "CPU": compute,
    "commits": commit,
    "one hot row": one_hot_row,
    "two hot rows": two_hot_rows,
}
# One core is taken, at a priority that leaves nothing of it: half of the server on the two cores we have.
BUSY = """
import contextlib, os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
with contextlib.suppress(OSError):
    os.nice(-15)
while True:
    pass
"""


@dataclass(frozen=True, slots=True)
class Length:
    """How long and how often: a short form for CI, and the one whose figures are reported."""

    sweep: Sequence[int] = (2, 4, 8, 15, 32, 96)
    starts: Sequence[int] = (2, 8, 64)
    static_s: float = 4.0
    law_s: float = 20.0


SHORT = Length(sweep=(2, 6, 15, 96), starts=(2, 64), static_s=1.5, law_s=10.0)


@dataclass(frozen=True, slots=True)
class Course:
    """One run: when calls ended, and the limit over time. Seconds from the start."""

    ended_s: Sequence[float]
    limits: Sequence[tuple[float, float]]

    def rate(self, from_s: float, to_s: float) -> float:
        """Calls a second in a stretch of it."""
        return sum(from_s <= at_s < to_s for at_s in self.ended_s) / (to_s - from_s)

    def limit(self, from_s: float, to_s: float) -> float:
        """The mean limit in a stretch of it."""
        return statistics.fmean(limit for at_s, limit in self.limits if from_s <= at_s < to_s)

    def settled_s(self, from_s: float, to_s: float, rate: float) -> float | None:
        """Seconds after `from_s` at which two seconds on end reach 90 % of `rate`; None for never."""
        at_s = from_s
        while at_s + WINDOW_S <= to_s:
            if self.rate(at_s, at_s + WINDOW_S) >= 0.9 * rate:
                return at_s - from_s
            at_s += LOOK_S
        return None


async def course(arm: arms.EngineArm, work: Work, duration_s: float) -> Course:
    """A hundred tasks in a closed loop on a fresh pool."""
    await arm.open()
    limits: list[tuple[float, float]] = []
    started_s = time.perf_counter()

    async def watch() -> None:
        while True:
            gate = getattr(arm.engine.pool, "gate", None)
            if gate is not None:
                limits.append((time.perf_counter() - started_s, gate.limit))
            await asyncio.sleep(LOOK_S)

    watching = asyncio.create_task(watch())
    block = await closed(arm, work, tasks=TASKS, duration_s=duration_s)
    watching.cancel()
    await arm.close()
    return Course([at_s - started_s for at_s in block.ended], limits)


async def limits(url: str, length: Length) -> AsyncIterator[Measured]:
    """From each cold start the law; right after it V1 and the best limit of the sweep, for as long."""
    for name, work in WORKLOADS.items():
        experiment = f"limit, {name}"
        swept = {size: await _static(url, work, size, length.static_s) for size in length.sweep}
        for size, rate in swept.items():
            yield Measured(experiment, f"static {size}", "sweep, calls/s", [[rate]])
        for row in agreement(name, swept):
            yield row
        best = max(swept, key=swept.__getitem__)
        rows: dict[str, list[list[float]]] = {"best static": [], "V1 (5+10)": [], "fluido": []}
        for start in length.starts:
            run = await course(arms.adaptive(url, most=MOST, start=float(start)), work, length.law_s)
            again = await _static(url, work, best, length.static_s)
            v1 = await course(arms.v1(url), work, length.static_s)
            half_s = length.law_s / 2
            rows["fluido"].append([run.rate(half_s, length.law_s)])
            rows["best static"].append([again])
            rows["V1 (5+10)"].append([v1.rate(0.0, length.static_s)])
            arm = f"from {start}"
            yield Measured(experiment, arm, "of the best beside it", [[rows["fluido"][-1][0] / again]])
            yield _settled(experiment, arm, run.settled_s(0.0, length.law_s, again), length.law_s)
            yield Measured(experiment, arm, "limit", [[run.limit(half_s, length.law_s)]])
        for arm, rates in rows.items():
            yield Measured(experiment, arm, "calls/s", rates)


def _settled(experiment: str, arm: str, after_s: float | None, within_s: float) -> Measured:
    if after_s is None:
        return Measured(experiment, arm, "not settled within s", [[within_s]])
    return Measured(experiment, arm, "settled after s", [[after_s]])


async def _static(url: str, work: Work, size: int, duration_s: float) -> float:
    run = await course(arms.fixed(url, size), work, duration_s + 0.5)
    return run.rate(0.5, duration_s + 0.5)


@contextmanager
def co_tenant() -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that takes half of the machine and leaves at the end of the block."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def steps(url: str, length: Length) -> AsyncIterator[Measured]:
    """Alone, then half of the server is taken, then it is given back: settled in 15 s each?"""
    for name in ("CPU", "two hot rows"):
        work = WORKLOADS[name]
        alone = [await _static(url, work, size, length.static_s) for size in length.sweep]
        with co_tenant():
            taken = [await _static(url, work, size, length.static_s) for size in length.sweep]
        best = {"alone": max(alone), "taken": max(taken), "given back": max(alone)}
        run_s = 3 * length.law_s
        running = asyncio.create_task(course(arms.adaptive(url, most=MOST), work, run_s))
        await asyncio.sleep(length.law_s)
        with co_tenant():
            await asyncio.sleep(length.law_s)
        run = await running
        for index, (phase, rate) in enumerate(best.items()):
            from_s, to_s = index * length.law_s, (index + 1) * length.law_s
            experiment = f"co-tenant, {name}, {phase}"
            yield Measured(experiment, "best static", "calls/s", [[rate]])
            yield Measured(experiment, "fluido", "calls/s", [[run.rate(to_s - length.law_s / 2, to_s)]])
            yield _settled(experiment, "fluido", run.settled_s(from_s, to_s, rate), length.law_s)
            yield Measured(experiment, "fluido", "limit", [[run.limit(to_s - length.law_s / 2, to_s)]])


async def drift(url: str, duration_s: float) -> AsyncIterator[Measured]:
    """A flat plateau for ten minutes: does the limit creep to its cap?"""
    run = await course(arms.adaptive(url, most=MOST), compute, duration_s)
    tenth_s = duration_s / 10
    for index in range(10):
        from_s, to_s = index * tenth_s, (index + 1) * tenth_s
        arm = f"fluido, {index + 1}/10"
        yield Measured("drift on a plateau", arm, "limit", [[run.limit(from_s, to_s)]])
        yield Measured("drift on a plateau", arm, "calls/s", [[run.rate(from_s, to_s)]])
