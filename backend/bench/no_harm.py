"""`python -m bench.no_harm`: does anybody lose who changes one import, in any cell, in the first ten seconds?

Most cells are a kind of work on a real PostgreSQL, the last ones an engine (bench/engine_limit.py). Arms take
turns, block by block, those of the pool each on a fresh pool:

- **stock**: SQLAlchemy's own pool with what the people of that cell have (5+10 unless the cell says so);
- **cold**: ours, started like that, with everything its law has to learn, against stock for as long;
- **late**: ours with a law that goes on from block to block, against the best constants of a sweep. The best
  cell of a sweep is the luckiest as well, so the sweep only nominates two and the blocks decide.

A cell without a limit to learn (bursts, cold starts at a rate, sessions inside sessions) has stock and cold.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy.exc import TimeoutError as StockTimeout

from bench.engine_limit import ENGINES, engine_cell
from bench.environment import describe
from bench.matrix import BEST_INTERVAL, BEST_LINE, Row, row
from bench.postgres import arms
from bench.postgres.bursts import poisson
from bench.postgres.ground import database, headline
from bench.postgres.limits import MOST, Course, course, lawful, learned
from bench.postgres.loops import (
    Work,
    closed,
    commit,
    compute,
    mixed,
    one_hot_row,
    opened,
    sleep_10_ms,
    two_hot_rows,
)
from fluido.errors import FluidoError
from fluido.sqlalchemy import Limits

# Of each line, in CI: two noisy blocks can only show that something is broken; those of a second, which are
# compared with the best constant, even less (0.53 on hot rows beside six other suites).
SHORT_LINE, SHORT_BEST = 0.55, 0.35
STOCK, OVERFLOW = 5, 10
ROUND_TRIP_S = 0.2  # what a call of the cells that tell times takes
CLOSED: dict[str, Work] = {
    "I/O": sleep_10_ms,
    "CPU": compute,
    "commits": commit,
    "one hot row": one_hot_row,
    "two hot rows": two_hot_rows,
    "2 % heavy": mixed,
}
RATES = (5, 60, 100)


@dataclass(frozen=True, slots=True)
class Length:
    """How long and how often."""

    sweep: Sequence[int] = (2, 4, 8, 15, 32, 96)
    nominees: int = 2
    blocks: int = 5  # below five there is no interval
    late_blocks: int = 10  # of the law and the best constants: commits and hot rows wander by a quarter
    static_s: float = 1.5
    cold_s: float = 5.0
    learn_s: float = 10.0
    rates: Sequence[int] = RATES
    engines: Sequence[str] = tuple(ENGINES)


SHORT = Length(
    sweep=(4, 15, 96), blocks=2, late_blocks=2, static_s=1.0, cold_s=2.0, learn_s=4.0, rates=(60,),
    engines=tuple(ENGINES)[:1],
)  # fmt: skip


def ours(url: str, *, timeout_s: float = 300.0) -> arms.FluidoArm:
    """What the guide recommends: no number at all but the server's."""
    return arms.FluidoArm("fluido", arms.fluido_engine(url, Limits(max=MOST), timeout_s=timeout_s))


def stock(
    url: str, size: int = STOCK, overflow: int = OVERFLOW, *, timeout_s: float = 300.0
) -> arms.EngineArm:
    """What they had."""
    return arms.stock(url, size, overflow=overflow, timeout_s=timeout_s)


# -- closed loops --


async def closed_cell(url: str, name: str, length: Length) -> AsyncIterator[Row]:
    """A hundred tasks that ask at once again."""
    work = CLOSED[name]

    async def held(size: int, duration_s: float) -> Course:
        return await course(arms.fixed(url, size), work, duration_s)

    swept = {size: (await held(size, length.static_s)).rate(0.25, length.static_s) for size in length.sweep}
    nominees = sorted(swept, key=swept.__getitem__)[-length.nominees :]
    law = learned()
    await course(lawful(url, law), work, length.learn_s)
    cold: list[float] = []
    theirs: list[float] = []
    late: list[float] = []
    limits: list[float] = []
    best: dict[int, list[float]] = {size: [] for size in nominees}

    async def play(what: str, size: int) -> None:
        if what == "cold":
            cold.append((await course(ours(url), work, length.cold_s)).rate(0.0, length.cold_s))
        elif what == "stock":
            theirs.append((await course(stock(url), work, length.cold_s)).rate(0.0, length.cold_s))
        elif what == "late":
            run = await course(lawful(url, law), work, length.static_s)
            late.append(run.rate(0.25, length.static_s))
            limits.append(run.limit(0.25, length.static_s))
        else:
            best[size].append((await held(size, length.static_s)).rate(0.25, length.static_s))

    for order, blocks in (
        ([("cold", 0), ("stock", 0)], length.blocks),
        ([("late", 0), *(("best", size) for size in nominees)], length.late_blocks),
    ):
        for block in range(blocks):
            turn = block % len(order)
            for what, size in order[turn:] + order[:turn]:
                await play(what, size)
    size = max(best, key=lambda size: sum(best[size]))
    yield row(name, f"calls/s, first {length.cold_s:g} s", "stock 5+10", theirs, cold)
    limit = statistics.fmean(limits)
    yield row(
        name, "calls/s, learned", f"best const. {size}", best[size], late,
        line=BEST_LINE, interval=BEST_INTERVAL, limit=limit,
    )  # fmt: skip


# -- open loops, and what is counted --


async def slow(execute: arms.Execute) -> object:
    """Waits for something that is not the server's processor."""
    return await execute(f"SELECT pg_sleep({ROUND_TRIP_S})")


async def burst(arm: arms.EngineArm) -> float:
    """How many of 300 callers are answered before they give up after two seconds; two bursts."""
    answered = 0

    async def caller() -> None:
        nonlocal answered
        with suppress(StockTimeout, FluidoError):
            async with arm.acquire() as execute:
                await slow(execute)
            answered += 1

    await arm.open()
    for _ in range(2):
        await asyncio.gather(*(caller() for _ in range(300)))
        await asyncio.sleep(0.5)
    await arm.close()
    return answered / 2


async def cold_rate(arm: arms.EngineArm, rate: int) -> float:
    """Median of whole times in the first four seconds of a start, ms."""
    block = await opened(arm, slow, poisson(rate, 4.0, seed=rate))
    await arm.close()
    return 1e3 * statistics.median(block.totals)


async def one_caller(arm: arms.EngineArm) -> float:
    """Calls a second of somebody who is alone."""
    await arm.open()
    block = await closed(arm, lambda execute: execute("SELECT 1"), tasks=1, duration_s=1.0)
    await arm.close()
    return block.rate


async def nested(arm: arms.EngineArm) -> float:
    """How many of twenty requests end that take a second connection inside the first, in three seconds."""
    ended = 0

    async def request() -> None:
        nonlocal ended
        async with arm.acquire() as outer:
            await outer("SELECT 1")
            await asyncio.sleep(0.05)
            async with arm.acquire() as inner:
                await inner("SELECT 1")
        ended += 1

    tasks = [asyncio.ensure_future(request()) for _ in range(20)]
    _, pending = await asyncio.wait(tasks, timeout=3.0)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await arm.close()
    return float(ended)


async def kept(arm: arms.EngineArm) -> float:
    """How long a short request takes while twenty sessions are kept open and do nothing, ms."""
    async with asyncio.timeout(20), contexts(arm, 20):
        started_s = time.perf_counter()
        with suppress(TimeoutError):
            async with asyncio.timeout(3.0), arm.acquire() as execute:
                await execute("SELECT 1")
        took_s = time.perf_counter() - started_s
    await arm.close()
    return 1e3 * took_s


class contexts:  # noqa: N801  (used as a statement)
    """So many sessions, each opened, used once, and kept."""

    def __init__(self, arm: arms.EngineArm, count: int) -> None:
        self._held = [arm.acquire() for _ in range(count)]

    async def __aenter__(self) -> None:
        for execute in await asyncio.gather(*(context.__aenter__() for context in self._held)):
            await execute("SELECT 1")

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(context.__aexit__(None, None, None) for context in self._held))


Counted = Callable[[arms.EngineArm], Awaitable[float]]


def counted(length: Length) -> dict[str, tuple[str, Counted, bool, tuple[int, int], float]]:
    """Cell -> what is told, how, whether less is better, the stock pool's size, its timeout."""
    cells: dict[str, tuple[str, Counted, bool, tuple[int, int], float]] = {
        "burst of 300": ("answered in 2 s", burst, False, (STOCK, OVERFLOW), 2.0),
        "nested sessions": ("of 20 end", nested, False, (50, 0), 300.0),
        "20 kept sessions": ("short request, ms", kept, True, (50, 0), 300.0),
        "one caller": ("calls/s", one_caller, False, (STOCK, OVERFLOW), 300.0),
    }
    for rate in length.rates:

        def cold(arm: arms.EngineArm, rate: int = rate) -> Awaitable[float]:
            return cold_rate(arm, rate)

        cells[f"cold start, {rate}/s"] = ("median, ms", cold, True, (STOCK, OVERFLOW), 300.0)
    return cells


async def counted_cell(url: str, name: str, length: Length) -> AsyncIterator[Row]:
    """Stock and ours in turn."""
    what, measure, lower, (size, overflow), timeout_s = counted(length)[name]
    theirs: list[float] = []
    mine: list[float] = []
    for block in range(length.blocks * (5 if measure is kept else 1)):  # a single request a block
        for first in (block % 2 == 0, block % 2 != 0):
            if first:
                theirs.append(await measure(stock(url, size, overflow, timeout_s=timeout_s)))
            else:
                mine.append(await measure(ours(url, timeout_s=timeout_s)))
    # A count of nothing has no ratio.
    theirs, mine = ([max(0.1, value) for value in values] for values in (theirs, mine))
    rival = f"stock {size}+{overflow}"
    yield row(name, what, rival, theirs, mine, lower=lower)


async def run(given: argparse.Namespace) -> list[Row]:
    """All chosen cells, one after the other, the pool's on one fresh server."""
    length = SHORT if given.short else Length()
    names = given.only or [*counted(length), *CLOSED, *length.engines]
    rows: list[Row] = []

    def tell(found: Row) -> None:
        rows.append(found)
        print(found, flush=True)

    if pooled := [name for name in names if name not in ENGINES]:
        async with database() as url:
            for name in pooled:
                cell = closed_cell if name in CLOSED else counted_cell
                async for found in cell(url, name, length):
                    tell(found)
    for name in names:
        if name in ENGINES:
            for found in await engine_cell(name, short=given.short):
                tell(found)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; 1 when a cell misses its line (in the short form: by much)."""
    parser = argparse.ArgumentParser(prog="python -m bench.no_harm", description=__doc__)
    parser.add_argument("--short", action="store_true", help="two blocks, without intervals; under 3 minutes")
    parser.add_argument("--only", nargs="+", choices=[*counted(Length()), *CLOSED, *ENGINES])
    parser.add_argument("--json", type=Path, help="write every row there")
    given = parser.parse_args(argv)
    environment = describe()
    print(headline(environment))
    rows = asyncio.run(run(given))
    if given.json:
        document = {"environment": asdict(environment), "rows": [asdict(found) for found in rows]}
        given.json.write_text(json.dumps(document, indent=1))
    missed = [found for found in rows if not found.met]
    broken = [
        found
        for found in rows
        if found.comparison.ratio < (SHORT_BEST if found.interval else SHORT_LINE) * found.line
    ]
    print(f"{len(rows) - len(missed)} of {len(rows)} lines met")
    return 1 if (broken if given.short else missed) else 0


if __name__ == "__main__":
    sys.exit(main())
