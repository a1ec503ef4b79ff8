"""`python -m bench.laws_real`: the elasticity law against a sweep of static limits on a real PostgreSQL.

Five workloads whose best limit differs by more than ten times on one server. A hundred tasks call in a
closed loop through fluido's Limiter; behind it, one asyncpg connection per permit. Each cell of the law
starts cold, and right after it the best static limit runs again for as long: the ratio to that neighbour is
the fair one on a machine whose speed drifts.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from embedded import stack
from fluido import Fixed, Limiter
from fluido.laws.base import Law
from fluido.laws.elasticity import Elasticity

TASKS = 100
SWEEP = (1, 2, 4, 6, 8, 15, 24, 50, 96)
STARTS = (2, 8, 64)
SETTLE_WINDOW_S = 2.0

Call = Callable[[Any], Awaitable[object]]


async def sleep(connection: Any) -> None:
    """Waits for something that is not the server's CPU."""
    await connection.fetchval("SELECT pg_sleep(0.01)")


async def compute(connection: Any) -> None:
    """About 2.4 ms of one core."""
    await connection.fetchval("SELECT sum(sqrt(i)) FROM generate_series(1, 20000) AS s(i)")


async def commit(connection: Any) -> None:
    """One row, one commit."""
    await connection.execute("INSERT INTO laws_log (body) VALUES ('x')")


async def one_hot_row(connection: Any) -> None:
    """Everybody updates the same row."""
    await connection.execute("UPDATE laws_hot SET n = n + 1 WHERE id = 1")


async def two_hot_rows(connection: Any) -> None:
    """A transaction that holds one hot row while it waits for the next."""
    async with connection.transaction():
        await connection.execute("UPDATE laws_hot SET n = n + 1 WHERE id = 1")
        await connection.execute("UPDATE laws_hot SET n = n + 1 WHERE id = 2")


WORKLOADS: dict[str, Call] = {
    "io": sleep,
    "cpu": compute,
    "commits": commit,
    "one_hot_row": one_hot_row,
    "two_hot_rows": two_hot_rows,
}


@dataclass(slots=True)
class Cell:
    """One run: calls a second and the mean limit over its second half, and both over time."""

    workload: str
    law: str
    start: float
    rate: float
    service_ms: float
    limit: float
    bins: list[int] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)


async def measure(
    call: Call, workload: str, law: Law, connections: list[Any], duration_s: float, *, bin_s: float = 0.25
) -> Cell:
    """Run one workload under one law."""
    limiter = Limiter(law, name=workload, max_waiting=TASKS)
    start = law.value
    idle = list(connections)
    ended: list[float] = []
    limits: list[float] = []
    began_s = time.perf_counter()
    end_s = began_s + duration_s

    async def caller() -> None:
        while time.perf_counter() < end_s:
            async with limiter.slot() as slot:
                if slot.started_s >= end_s:  # who waited when the time was over
                    return
                connection = idle.pop()
                try:
                    await call(connection)
                finally:
                    idle.append(connection)
            ended.append(time.perf_counter() - began_s)

    async def watch() -> None:
        while time.perf_counter() < end_s:
            limits.append(round(limiter.gate.limit, 2))
            await asyncio.sleep(bin_s)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        for _ in range(TASKS):
            tasks.create_task(caller())
    whole = [0] * int(duration_s / bin_s)
    for at_s in ended:
        if at_s < len(whole) * bin_s:
            whole[int(at_s / bin_s)] += 1
    half = len(whole) // 2
    return Cell(
        workload,
        law.name,
        start,
        rate=sum(whole[half:]) / ((len(whole) - half) * bin_s),
        service_ms=limiter.stats().service_ms_p50,
        limit=statistics.fmean(limits[len(limits) // 2 :]),
        bins=whole,
        limits=limits,
    )


def settled_s(cell: Cell, best: float, bin_s: float = 0.25) -> float | None:
    """When two seconds on end first reached 90 % of `best`, or None."""
    width = int(SETTLE_WINDOW_S / bin_s)
    for index in range(len(cell.bins) - width + 1):
        if sum(cell.bins[index : index + width]) / SETTLE_WINDOW_S >= 0.9 * best:
            return index * bin_s
    return None


async def workload_cells(
    name: str, call: Call, connections: list[Any], wishes: argparse.Namespace
) -> list[Cell]:
    """The sweep, then for each cold start the law and its static neighbour."""
    cells = []
    for limit in wishes.sweep:
        cells.append(await measure(call, name, Fixed(limit), connections, wishes.static_s))
        print(f"{name:13s} static {limit:3d}   {cells[-1].rate:9.0f}/s", flush=True)
    best = max(cells, key=lambda cell: cell.rate)
    for start in wishes.starts:
        law = Elasticity(start=start, ceiling=96, key=name, target=wishes.target)
        cell = await measure(call, name, law, connections, wishes.law_s)
        again = await measure(call, name, Fixed(best.start), connections, wishes.static_s)
        cells += [cell, again]
        settled = settled_s(cell, best.rate)
        print(
            f"{name:13s} law from {start:3g} {cell.rate:9.0f}/s  {100 * cell.rate / best.rate:4.0f} % of the "
            f"best static ({best.start:g}), {100 * cell.rate / again.rate:4.0f} % of it run right after; "
            f"limit {cell.limit:5.1f}, settled after {'never' if settled is None else f'{settled:.1f} s'}",
            flush=True,
        )
    return cells


async def run(wishes: argparse.Namespace) -> list[Cell]:
    """All wanted workloads on one fresh server."""
    cells: list[Cell] = []
    async with stack(engine=None, redis=False, fresh=True, data_dir=wishes.data_dir) as ground:
        url = ground.database_url.replace("+asyncpg", "")
        connections = [await asyncpg.connect(url) for _ in range(max(TASKS, *wishes.sweep))]
        try:
            await connections[0].execute(
                "CREATE TABLE IF NOT EXISTS laws_log (id bigserial PRIMARY KEY, body text);"
                "CREATE TABLE IF NOT EXISTS laws_hot (id int PRIMARY KEY, n bigint) WITH (fillfactor = 10);"
                "INSERT INTO laws_hot SELECT i, 0 FROM generate_series(1, 2) AS s(i) ON CONFLICT DO NOTHING"
            )
            for name in wishes.workloads:
                cells += await workload_cells(name, WORKLOADS[name], connections, wishes)
        finally:
            for connection in connections:
                await connection.close()
    return cells


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; the full run takes about fifteen minutes, `--short` about four."""
    parser = argparse.ArgumentParser(prog="bench.laws_real", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer and shorter cells")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--starts", nargs="+", type=float)
    parser.add_argument("--sweep", nargs="+", type=int)
    parser.add_argument("--static-s", type=float)
    parser.add_argument("--law-s", type=float)
    parser.add_argument("--target", type=float, default=0.87)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path, help="write every cell there")
    wishes = parser.parse_args(argv)
    wishes.starts = wishes.starts or ((8, 64) if wishes.short else STARTS)
    wishes.sweep = wishes.sweep or ((2, 6, 15, 24, 96) if wishes.short else SWEEP)
    wishes.static_s = wishes.static_s or (2.0 if wishes.short else 8.0)
    wishes.law_s = wishes.law_s or (12.0 if wishes.short else 30.0)
    return wishes


def main(argv: list[str] | None = None) -> int:
    """Run and print; exit 1 when a workload misses 90 % of its best static limit from some start."""
    wishes = arguments(argv)
    cells = asyncio.run(run(wishes))
    if wishes.json:
        wishes.json.write_text(json.dumps([asdict(cell) for cell in cells]))
    missed = 0
    for name in wishes.workloads:
        best = max(cell.rate for cell in cells if cell.workload == name and cell.law == "fixed")
        for cell in cells:
            if cell.workload == name and cell.law != "fixed" and cell.rate < 0.9 * best:
                missed += 1
                print(f"missed: {name} from {cell.start:g}: {100 * cell.rate / best:.0f} % (line 90 %)")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
