"""The adaptive pool, as one would use it, against a sweep of static limits on the same server."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.postgres import arms
from bench.postgres.agreement import agreement
from bench.postgres.loops import Work, closed, commit, compute, one_hot_row, sleep_10_ms, two_hot_rows
from bench.postgres.record import Measured
from fluido.laws import Ladder, Law
from fluido.sqlalchemy import Limits, create_async_engine, default_law

Rates = list[list[float]]

TASKS = 100
MOST = 96
WINDOW_S = 2.0
WARM_S = 0.75  # the beginning of a cell, in which connections are opened
BINS = 5
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
    """How long and how often: a short form for CI, and the one whose figures are reported.

    `static_s` is one cell (after WARM_S), `law_s` a cold start, `phase_s` how long a co-tenant stays.
    """

    sweep: Sequence[int] = (2, 4, 8, 15, 32, 96)
    starts: Sequence[int] = (2, 8, 64)
    nominees: int = 2
    blocks: int = 5  # below five there is no interval
    static_s: float = 1.75
    law_s: float = 10.0
    phase_s: float = 20.0


SHORT = Length(sweep=(2, 6, 15, 96), starts=(2, 64), blocks=3, static_s=1.0, law_s=6.0, phase_s=8.0)


@dataclass(frozen=True, slots=True)
class Course:
    """One run: when calls ended, and the limit over time. Seconds from the start."""

    ended_s: Sequence[float]
    limits: Sequence[tuple[float, float]]

    def rate(self, from_s: float, to_s: float) -> float:
        """Calls a second in a stretch of it."""
        return sum(from_s <= at_s < to_s for at_s in self.ended_s) / (to_s - from_s)

    def rates(self, from_s: float, to_s: float) -> list[list[float]]:
        """The same in equal parts, one a block."""
        part_s = (to_s - from_s) / BINS
        return [[self.rate(from_s + at * part_s, from_s + (at + 1) * part_s)] for at in range(BINS)]

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
    """The law from each cold start; then it, the best limits of the sweep and V1 in turn, block by block.

    The best cell of a sweep is the luckiest as well: the sweep only nominates, and the blocks decide.
    """
    for name, work in WORKLOADS.items():
        experiment = f"limit, {name}"
        swept = {size: await _static(url, work, size, length.static_s) for size in length.sweep}
        for size, rate in swept.items():
            yield Measured(experiment, f"static {size}", "sweep, calls/s", [[rate]])
        for row in agreement(name, swept):
            yield row
        laws = {start: _law(start) for start in length.starts}
        cold = {
            start: await course(_lawful(url, law, Limits(min=2, max=MOST)), work, length.law_s)
            for start, law in laws.items()
        }
        nominees = sorted(swept, key=swept.__getitem__)[-length.nominees :]
        static, ours, v1, ended = await _blocks(url, work, length, nominees, laws)
        best = max(static, key=lambda size: sum_of(static[size]))
        for size, rates in static.items():
            yield Measured(experiment, f"static {size}", "in blocks, calls/s", rates)
        yield Measured(experiment, "best static", "calls/s", static[best])
        yield Measured(experiment, "best static", "limit", [[float(best)]])
        yield Measured(experiment, "V1 (5+10)", "calls/s", v1)
        for start, rates in ours.items():
            arm = f"fluido from {start}"
            yield Measured(experiment, arm, "calls/s", rates)
            yield Measured(experiment, arm, "limit", [[limit] for limit in ended[start]])
            rate = sum_of(static[best]) / length.blocks
            yield _settled(experiment, arm, cold[start].settled_s(0.0, length.law_s, rate), length.law_s)


async def _blocks(
    url: str, work: Work, length: Length, nominees: Sequence[int], laws: Mapping[int, Law]
) -> tuple[dict[int, Rates], dict[int, Rates], Rates, dict[int, list[float]]]:
    """In an order that turns: static limits, laws that go on from where they were, and V1.

    Each cell has fresh connections, opened without pause: all arms at once would be more than the server
    grants. Answers the rates of the statics, of the laws and of V1, and the limits of the laws.
    """
    static: dict[int, Rates] = {size: [] for size in nominees}
    ours: dict[int, Rates] = {start: [] for start in laws}
    v1: Rates = []
    ended: dict[int, list[float]] = {start: [] for start in laws}
    end_s = WARM_S + length.static_s

    async def play(kind: str, of: int) -> None:
        if kind == "static":
            static[of].append([await _static(url, work, of, length.static_s)])
            return
        if kind == "v1":
            v1.append([(await course(arms.v1(url), work, end_s)).rate(WARM_S, end_s)])
            return
        run = await course(_lawful(url, laws[of], Limits(min=2, max=MOST, open_every_s=0.0)), work, end_s)
        ours[of].append([run.rate(WARM_S, end_s)])
        ended[of].append(run.limit(WARM_S, end_s))

    order = [*(("static", size) for size in nominees), *(("law", start) for start in laws), ("v1", 0)]
    for number in range(length.blocks):
        turn = number % len(order)
        for kind, of in order[turn:] + order[:turn]:
            await play(kind, of)
    return static, ours, v1, ended


def _law(start: float) -> Law:
    limits = Limits(min=2, max=MOST, start=float(start))
    return default_law(limits, server="bench", clock=time.perf_counter)


def learned(before: Law | None = None) -> Law:
    """A law as a pool has one, offered what an earlier one has learned."""
    memory = before.memory() if isinstance(before, Ladder) else None
    return Ladder(start=15, ceiling=MOST, remembered=memory)


def lawful(url: str, law: Law) -> arms.FluidoArm:
    """A pool with a law of its own, whose connections are there at once: what learning costs, and no more."""
    return _lawful(url, law, Limits(max=MOST, open_every_s=0.0))


def _lawful(url: str, law: Law, limits: Limits) -> arms.FluidoArm:
    engine = create_async_engine(url, limit=limits, law=law, pool_timeout=300, isolation_level="AUTOCOMMIT")
    return arms.FluidoArm("fluido", engine)


def _settled(experiment: str, arm: str, after_s: float | None, within_s: float) -> Measured:
    if after_s is None:
        return Measured(experiment, arm, "not settled within s", [[within_s]])
    return Measured(experiment, arm, "settled after s", [[after_s]])


async def _static(url: str, work: Work, size: int, duration_s: float) -> float:
    run = await course(arms.fixed(url, size), work, WARM_S + duration_s)
    return run.rate(WARM_S, WARM_S + duration_s)


async def _best(url: str, work: Work, length: Length) -> Rates:
    """The best of a sweep, run again for half a phase: its own cell was the luckiest."""
    swept = {size: await _static(url, work, size, length.static_s) for size in length.sweep}
    again: list[Rates] = []
    for size in sorted(swept, key=swept.__getitem__)[-length.nominees :]:
        run = await course(arms.fixed(url, size), work, WARM_S + length.phase_s / 2)
        again.append(run.rates(WARM_S, WARM_S + length.phase_s / 2))
    return max(again, key=sum_of)


def sum_of(rates: Rates) -> float:
    """All blocks together."""
    return sum(rate for (rate,) in rates)


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
    """Alone, then half of the server is taken, then it is given back: settled in 15 s each?

    The parts of the second half of a phase are the blocks; the static limit had its own right before.
    """
    for name in ("CPU", "two hot rows"):
        work = WORKLOADS[name]
        alone = await _best(url, work, length)
        with co_tenant():
            taken = await _best(url, work, length)
        phase_s = length.phase_s
        running = asyncio.create_task(course(arms.adaptive(url, most=MOST), work, 3 * phase_s))
        await asyncio.sleep(phase_s)
        with co_tenant():
            await asyncio.sleep(phase_s)
        run = await running
        for index, (phase, rates) in enumerate((("alone", alone), ("taken", taken), ("given back", alone))):
            from_s, to_s = index * phase_s, (index + 1) * phase_s
            experiment = f"co-tenant, {name}, {phase}"
            yield Measured(experiment, "best static", "calls/s", rates)
            yield Measured(experiment, "fluido", "calls/s", run.rates(to_s - phase_s / 2, to_s))
            rate = sum_of(rates) / len(rates)
            yield _settled(experiment, "fluido", run.settled_s(from_s, to_s, rate), phase_s)
            yield Measured(experiment, "fluido", "limit", [[run.limit(to_s - phase_s / 2, to_s)]])


async def drift(url: str, duration_s: float) -> AsyncIterator[Measured]:
    """A flat plateau for ten minutes: does the limit creep to its cap?"""
    run = await course(arms.adaptive(url, most=MOST), compute, duration_s)
    tenth_s = duration_s / 10
    for index in range(10):
        from_s, to_s = index * tenth_s, (index + 1) * tenth_s
        arm = f"fluido, {index + 1}/10"
        yield Measured("drift on a plateau", arm, "limit", [[run.limit(from_s, to_s)]])
        yield Measured("drift on a plateau", arm, "calls/s", [[run.rate(from_s, to_s)]])
