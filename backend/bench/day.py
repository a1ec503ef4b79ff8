"""`python -m bench.day`: a day that changes on a real PostgreSQL, a law against every constant held all day.

The work changes from phase to phase, and with it the best limit, by more than ten times. In each phase the
law goes on from where it was (over connections that are already there), and the constants take turns with it;
a constant has no memory, so that its phases may be played one by one. The oracle holds the best constant of
each phase. A second day begins where the first ended.
"""

import argparse
import asyncio
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from bench.environment import describe
from bench.postgres import arms
from bench.postgres.ground import database, headline
from bench.postgres.limits import MOST, co_tenant, lawful, learned
from bench.postgres.loops import (
    Work,
    closed,
    commit,
    compute,
    mixed,
    one_hot_row,
    sleep_10_ms,
    two_hot_rows,
)
from fluido.laws import Law

TASKS, FEW = 100, 4
STOCK = 15
LAW = 0  # stands among the constants
ORACLE_LINE = 0.93


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the day; `restart` begins the process anew, `taken` gives a tenant half of the cores."""

    name: str
    work: Work
    tasks: int = TASKS
    restart: bool = False
    taken: bool = False


COURSE = (
    Phase("quiet", sleep_10_ms, tasks=FEW),
    Phase("I/O", sleep_10_ms),
    Phase("one hot row", one_hot_row),
    Phase("commits", commit),
    Phase("a deploy", commit, restart=True),
    Phase("CPU", compute),
    Phase("a co-tenant", compute, taken=True),
    Phase("two hot rows", two_hot_rows),
    Phase("2 % heavy", mixed),
    Phase("I/O again", sleep_10_ms),
)
BINDING = tuple(index for index, phase in enumerate(COURSE) if phase.tasks == TASKS)


@dataclass(frozen=True, slots=True)
class Length:
    """`law_s` is how long a phase lasts for the law, `constant_s` for each constant."""

    constants: Sequence[int] = (4, 8, STOCK, 24, 50, MOST)
    days: int = 2
    law_s: float = 10.0
    constant_s: float = 3.0


SHORT = Length(constants=(4, STOCK, MOST), days=1, law_s=4.0, constant_s=1.0)


@dataclass(slots=True)
class Arm:
    """What one arm did in each phase, one value a day; for the law also its limit over time."""

    rates: list[list[float]] = field(default_factory=lambda: [[] for _ in COURSE])
    p95_ms: list[list[float]] = field(default_factory=lambda: [[] for _ in COURSE])
    limits: list[tuple[float, float, float, str]] = field(default_factory=list)

    def rate(self, index: int) -> float:
        """Calls a second in a phase."""
        return statistics.fmean(self.rates[index])


async def played(arm: arms.EngineArm, phase: Phase, duration_s: float, into: Arm, *, at_s: float) -> None:
    """One phase of one arm."""
    await arm.open()
    began_s = time.perf_counter()

    async def watch() -> None:
        while True:
            pool: Any = arm.engine.pool
            law = getattr(pool, "law", None)
            if law is not None and hasattr(law, "reference"):
                last = law.tick(time.perf_counter())
                when_s = at_s + time.perf_counter() - began_s
                into.limits.append((when_s, pool.gate.limit, float(law.reference), last.reason))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    block = await closed(arm, phase.work, tasks=phase.tasks, duration_s=duration_s)
    watching.cancel()
    await arm.close()
    index = COURSE.index(phase)
    into.rates[index].append(block.rate)
    into.p95_ms[index].append(1e3 * float(np.quantile(block.totals or [duration_s], 0.95)))


async def day(url: str, length: Length, found: dict[int, Arm], law: Law, number: int) -> Law:
    """Every phase once; answers the law as it is in the evening."""
    for index, phase in enumerate(COURSE):
        if phase.restart:
            law = learned(law)
        order = [LAW, *length.constants]
        turn = (index + number) % len(order)
        at_s = (number * len(COURSE) + index) * length.law_s
        with co_tenant() if phase.taken else nullcontext():
            for size in order[turn:] + order[:turn]:
                arm = lawful(url, law) if size == LAW else arms.fixed(url, size)
                duration_s = length.law_s if size == LAW else length.constant_s
                await played(arm, phase, duration_s, found[size], at_s=at_s)
    return law


@dataclass(frozen=True, slots=True)
class Summary:
    """One arm's day: its share of the oracle by phase, their means, and its p95 over the best constant's."""

    shares: Sequence[float]
    mean: float
    geometric: float
    p95: float = math.nan


def summaries(found: Mapping[int, Arm]) -> dict[int, Summary]:
    """Of every arm; the oracle is the best constant of each phase."""
    constants = [size for size in found if size != LAW]
    best = [max(found[size].rate(index) for size in constants) for index in range(len(COURSE))]
    made: dict[int, Summary] = {}
    for size, arm in found.items():
        shares = [arm.rate(index) / best[index] for index in range(len(COURSE))]
        bound = [shares[index] for index in BINDING]
        made[size] = Summary(shares, statistics.fmean(bound), statistics.geometric_mean(bound))
    rival = found[max(constants, key=lambda size: made[size].mean)]
    for size, arm in found.items():
        ratios = [statistics.fmean(arm.p95_ms[at]) / statistics.fmean(rival.p95_ms[at]) for at in BINDING]
        one = made[size]
        made[size] = Summary(one.shares, one.mean, one.geometric, statistics.geometric_mean(ratios))
    return made


def table(made: Mapping[int, Summary]) -> str:
    """Shares of the oracle, as Markdown."""
    lines = [
        f"| held all day | {' | '.join(phase.name for phase in COURSE)} | mean | geometric mean | p95 |",
        "|---" * (len(COURSE) + 4) + "|",
    ]
    for size, one in sorted(made.items(), key=lambda item: item[0] or math.inf):
        cells = [f"{share:.2f}" for share in one.shares]
        cells += [f"{one.mean:.3f}", f"{one.geometric:.3f}", f"{one.p95:.2f}"]
        lines.append(f"| {size or '**the law**'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(made: Mapping[int, Summary]) -> dict[str, tuple[float, bool]]:
    """The lines of the day."""
    law = made[LAW]
    rivals = [one for size, one in made.items() if size != LAW]
    mean = law.mean / max(one.mean for one in rivals)
    geometric = law.geometric / max(one.geometric for one in rivals)
    return {
        "share of the oracle": (law.mean, law.mean >= ORACLE_LINE),
        "over the best constant, mean": (mean, mean > 1.0),
        "over the best constant, geometric mean": (geometric, geometric > 1.0),
        "p95 over the best constant's": (law.p95, law.p95 <= 1.0),
    }


def picture(path: Path, found: Mapping[int, Arm], made: Mapping[int, Summary], length: Length) -> None:
    """Limit, reference and reason over time above; what each arm got done below."""
    mpl.use("Agg")
    figure = Figure(figsize=(13, 8), layout="constrained")
    top, bottom = figure.subplots(2, 1)
    limits = found[LAW].limits
    top.plot([row[0] for row in limits], [row[1] for row in limits], linewidth=0.9, label="limit in force")
    top.plot([row[0] for row in limits], [row[2] for row in limits], "k--", linewidth=0.9, label="reference")
    colours = {
        "leap": "tab:green",
        "shift": "tab:red",
        "more_does_more": "tab:blue",
        "fewer_do_as_much": "tab:orange",
    }
    for reason, colour in colours.items():
        moves = [now for before, now in itertools.pairwise(limits) if now[3] == reason != before[3]]
        top.scatter([row[0] for row in moves], [row[1] for row in moves], s=14, color=colour, label=reason)
    for index in range(len(COURSE) * length.days):
        top.axvline(index * length.law_s, color="0.85", linewidth=0.8)
        name = COURSE[index % len(COURSE)].name
        top.text(
            index * length.law_s, 1.01, name, fontsize=7, rotation=30, transform=top.get_xaxis_transform()
        )
    top.set_yscale("log")
    top.set_ylabel("limit")
    top.set_xlabel("seconds of the law")
    top.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=6, fontsize=8)
    names = [phase.name for phase in COURSE]
    for size, one in made.items():
        style = {"color": "black", "linewidth": 2.2} if size == LAW else {"linewidth": 0.9}
        bottom.plot(
            names, one.shares, marker="o", label="the law" if size == LAW else f"{size} all day", **style
        )
    bottom.axhline(1.0, color="0.5", linestyle=":", linewidth=0.9)
    bottom.set_ylabel("calls done, share of the oracle")
    bottom.legend(ncols=4, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


async def run(length: Length) -> dict[int, Arm]:
    """So many days on one fresh server."""
    found = {size: Arm() for size in (LAW, *length.constants)}
    async with database() as url:
        law = learned()
        for number in range(length.days):
            law = await day(url, length, found, law, number)
            sys.stderr.write(table(summaries(found)) + "\n")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, draw; 1 when a line is missed (in the short form: when a constant is better)."""
    parser = argparse.ArgumentParser(prog="python -m bench.day", description=__doc__)
    parser.add_argument("--days", type=int, help="the next one begins where the last one ended (default 2)")
    parser.add_argument("--short", action="store_true", help="one day of two minutes, three constants")
    parser.add_argument(
        "--out", type=Path, default=Path("../build/day"), help="writes NAME.json and NAME.png"
    )
    given = parser.parse_args(argv)
    environment = describe()
    length = SHORT if given.short else Length()
    length = replace(length, days=given.days or length.days)
    found = asyncio.run(run(length))
    made = summaries(found)
    print(headline(environment), end="\n\n")
    print(table(made), end="\n\n")
    lines = verdicts(made)
    for name, (value, met) in lines.items():
        print(f"{name:40s} {value:6.3f}   {'ok' if met else 'MISSED'}")
    picture(given.out.with_suffix(".png"), found, made, length)
    document = {
        "environment": asdict(environment),
        "arms": {str(size): asdict(arm) for size, arm in found.items()},
    }
    given.out.with_suffix(".json").write_text(json.dumps(document, indent=1))
    wanted = ["over the best constant, mean"] if given.short else list(lines)
    return 0 if all(lines[name][1] for name in wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
