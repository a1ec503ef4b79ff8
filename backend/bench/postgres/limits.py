"""Pools with a law of their own or a limit that stands, under a hundred tasks, on one server."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.postgres import arms
from bench.postgres.loops import Work, closed
from fluido.laws import Ladder, Law
from fluido.sqlalchemy import Limits, create_async_engine

TASKS = 100
MOST = 96
LOOK_S = 0.25
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


def learned(before: Law | None = None) -> Law:
    """A law as a pool has one, offered what an earlier one has learned."""
    memory = before.memory() if isinstance(before, Ladder) else None
    return Ladder(start=15, ceiling=MOST, remembered=memory)


def lawful(url: str, law: Law) -> arms.FluidoArm:
    """A pool with a law of its own, whose connections are there at once: what learning costs, and no more."""
    limits = Limits(max=MOST, open_every_s=0.0)
    engine = create_async_engine(url, limit=limits, law=law, pool_timeout=300, isolation_level="AUTOCOMMIT")
    return arms.FluidoArm("fluido", engine)


@contextmanager
def co_tenant() -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that takes half of the machine and leaves at the end of the block."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
