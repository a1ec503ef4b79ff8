"""Four processes of unequal rate on one server: aligned by the wall clock, and not (the control)."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TypedDict

from bench.postgres import arms
from bench.postgres.arms import Execute
from bench.postgres.limits import BINS, course, sum_of
from bench.postgres.loops import Work
from bench.postgres.record import Measured
from fluido.sqlalchemy import Limits


class Found(TypedDict):
    """What one process tells."""

    work: list[float]
    limit: float


# What one call of each replica costs; their call rates differ by as much.
COSTS = (5_000, 10_000, 20_000, 40_000)
STARTS = (2, 6, 16, 32)
SWEEP = (1, 2, 4, 12)
MOST = 40


async def fleet(url: str, *, sweep_s: float, run_s: float) -> AsyncIterator[Measured]:
    """Work a second of all together, how evenly it is shared, and where the limits end."""
    swept = {size: await _together(url, sweep_s, fixed=size) for size in SWEEP}
    for size, found in swept.items():
        yield Measured("fleet of four", f"static {size} each", "sweep, calls/s", [[_total(found)]])
    nominees = sorted(swept, key=lambda size: _total(swept[size]))[-2:]
    rows = {"fluido": await _together(url, run_s, replicas=len(COSTS))}
    # The best cell of a sweep is the luckiest as well: it has to be the best again.
    again = [await _together(url, 2 * sweep_s, fixed=size) for size in nominees]
    rows["best static"] = max(again, key=_total)
    rows["not aligned"] = await _together(url, run_s, replicas=1)
    for arm, found in rows.items():
        limits = [row["limit"] for row in found]
        squares = len(limits) * sum(limit * limit for limit in limits)
        yield Measured("fleet of four", arm, "calls/s", _totals(found))
        # Of the limits, not of the work: a cheap call spends more of its time outside of the server.
        yield Measured("fleet of four", arm, "Jain of limits", [[sum(limits) ** 2 / squares]])
        yield Measured("fleet of four", arm, "sum of limits", [[sum(limits)]])


def _totals(found: Sequence[Found]) -> list[list[float]]:
    """In calls of the dearest kind, one part of the time a block."""
    return [[sum(parts) / max(COSTS)] for parts in zip(*(row["work"] for row in found), strict=True)]


def _total(found: Sequence[Found]) -> float:
    return sum_of(_totals(found)) / BINS


async def _together(url: str, duration_s: float, *, fixed: int = 0, replicas: int = 1) -> list[Found]:
    """All four at once, each a process of its own."""
    given = [f"--fixed={fixed}", f"--replicas={replicas}", f"--duration-s={duration_s}"]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.postgres.fleet", f"--cost={cost}", f"--start={start}", *given),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for cost, start in zip(COSTS, STARTS, strict=True)
    ]
    # The URL carries a password: not on the command line, which everybody on the machine can read.
    answers = await asyncio.gather(*(process.communicate(url.encode()) for process in processes))
    return [json.loads(answer) for answer, _ in answers]


async def replica(url: str, given: argparse.Namespace) -> Found:
    """One process of the fleet: its work a second, in parts, and its mean limit over the second half."""
    if given.fixed:
        arm = arms.fixed(url, given.fixed)
    else:
        limits = Limits(min=1, max=MOST, start=float(given.start), replicas=given.replicas)
        arm = arms.FluidoArm("fluido", arms.fluido_engine(url, limits))
    half_s = given.duration_s / 2
    run = await course(arm, _work(given.cost), given.duration_s)
    rates = run.rates(half_s, given.duration_s)
    return {
        "work": [rate * given.cost for (rate,) in rates],
        "limit": run.limit(half_s, given.duration_s),
    }


def _work(cost: int) -> Work:
    async def work(execute: Execute) -> object:
        return await execute(f"SELECT sum(sqrt(i)) FROM generate_series(1, {cost}) AS s(i)")

    return work


def main() -> None:
    """The part of one process; the URL comes on standard input."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres.fleet", description=main.__doc__)
    parser.add_argument("--cost", type=int, required=True)
    parser.add_argument("--start", type=int, default=8)
    parser.add_argument("--fixed", type=int, default=0)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--duration-s", type=float, default=20.0)
    given = parser.parse_args()
    sys.stdout.write(json.dumps(asyncio.run(replica(sys.stdin.read().strip(), given))))


if __name__ == "__main__":
    main()
