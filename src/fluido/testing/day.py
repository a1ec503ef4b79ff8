"""A day that changes: one law that goes on through it, against every constant held all day, and an oracle.

Where nothing changes a law can only find the best constant, which anybody finds by trying. What adapting is
for is a day whose best constant moves by more than ten times. The oracle holds the best constant of each
phase; a share is what an arm got done of what the oracle did.
"""

import math
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fluido.laws._rungs import rungs
from fluido.testing.curve import Curve
from fluido.testing.factory import fixed_start, named_law
from fluido.testing.scenario import Group, JobClass, Phase, Scenario
from fluido.testing.simulation import Simulation
from fluido.testing.trace import Trace

STOCK, MOST = 15, 96  # the constant of who never chose one; as many as the server admits
SEEDS, PHASE_S, SHORT_PHASE_S = 20, 30.0, 10.0
# Of the oracle. What is lost is the learning, as many seconds in phases a third as long.
SHARE, SHORT_SHARE = 0.93, 0.90
CONSTANT_SEEDS = 2  # a constant does not wander: its seeds differ by 1 %
CONSTANTS = rungs(STOCK, 2, MOST)
SHORT_CONSTANTS = (4, 8, 15, 29, 57, 96)
# Measured on a real PostgreSQL, at a tenth of its speed (docs/simulator.md).
IO = Curve.through([(1, 46), (96, 4416)])
CPU = Curve.through([(1, 399), (2, 840), (4, 850), (96, 870)])
COMMITS = Curve.through(
    [(1, 583), (2, 605), (4, 1264), (6, 1427), (8, 1606), (15, 1816), (24, 2439), (50, 2153), (96, 1855)]
)
HOT_ROW = Curve.through(
    [(1, 453), (2, 555), (4, 759), (6, 907), (8, 972), (15, 842), (24, 709), (50, 514), (96, 303)]
)
TWO_HOT_ROWS = Curve.through(
    [(1, 313), (2, 556), (4, 885), (6, 954), (8, 903), (15, 574), (24, 502), (50, 336), (96, 247)]
)
MIXED = Curve.knee(32, 0.010, retrograde=0.1)
KINDS = ("sleep", "hot row", "insert", "compute", "two rows", "short")
CLASSES = (*(JobClass(kind) for kind in KINDS), JobClass("report", work=30.0))


def _only(kind: str, report: float = 0.0) -> tuple[float, ...]:
    """The shares of the classes in a phase: a service that does something else sends other statements."""
    return (*(float(one == kind) * (1.0 - report) for one in KINDS), report)


# name, curve, clients, and what else changes; a day begins and ends quietly.
COURSE: tuple[tuple[str, Phase], ...] = (
    ("quiet", Phase(0, curve=IO, clients=4, shares=_only("sleep"))),
    ("a burst", Phase(0, curve=IO, clients=4, burst=1500)),
    ("I/O", Phase(0, curve=IO, clients=100)),
    ("hot row", Phase(0, curve=HOT_ROW, clients=100, shares=_only("hot row"))),
    ("commits", Phase(0, curve=COMMITS, clients=100, shares=_only("insert"))),
    ("a deploy", Phase(0, curve=COMMITS, clients=100, restart=True)),
    ("CPU", Phase(0, curve=CPU, clients=100, shares=_only("compute"))),
    ("a co-tenant", Phase(0, curve=CPU, clients=100, factor=0.5)),
    ("two hot rows", Phase(0, curve=TWO_HOT_ROWS, clients=100, factor=1.0, shares=_only("two rows"))),
    ("2 % heavy", Phase(0, curve=MIXED, clients=100, shares=_only("short", 0.02))),
    ("I/O again", Phase(0, curve=IO, clients=100, shares=_only("sleep"))),
)
NAMES = tuple(name for name, _ in COURSE)
# Phases in which the demand decides: every arm does the same, and a share of it would flatter all of them.
BINDING = tuple(index for index, (_, phase) in enumerate(COURSE) if phase.clients == 100)


@dataclass(frozen=True, slots=True)
class Course:
    """One arm's day: calls done and the 95th percentile of whole times in each phase."""

    done: tuple[float, ...]
    p95_s: tuple[float, ...]
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """All arms: the law by seed, the constants."""

    law: Sequence[Course]
    constants: Mapping[int, Course]
    share: float = SHARE

    @property
    def oracle(self) -> tuple[float, ...]:
        """What the best constant of each phase gets done in it."""
        return tuple(max(course.done[at] for course in self.constants.values()) for at in range(len(NAMES)))

    def shares(self, course: Course) -> tuple[float, ...]:
        """What an arm gets done of it, by phase."""
        return tuple(mine / best for mine, best in zip(course.done, self.oracle, strict=True))

    def mean(self, course: Course) -> float:
        """Over the phases that bind."""
        shares = self.shares(course)
        return sum(shares[at] for at in BINDING) / len(BINDING)

    def geometric(self, course: Course) -> float:
        """The same, where half of one phase is as bad as nothing gained in another that doubles."""
        shares = self.shares(course)
        return math.exp(sum(math.log(max(1e-9, shares[at])) for at in BINDING) / len(BINDING))

    @property
    def best(self) -> int:
        """The constant that does best when it is held all day."""
        return max(self.constants, key=lambda constant: self.mean(self.constants[constant]))

    def slower(self, course: Course) -> float:
        """Its p95 over that of the best constant, geometric mean of the phases."""
        rival = self.constants[self.best]
        ratios = [math.log(course.p95_s[at] / rival.p95_s[at]) for at in BINDING]
        return math.exp(sum(ratios) / len(ratios))

    def verdicts(self) -> dict[str, tuple[float, bool]]:
        """The pass lines: their figures, those that nine seeds of ten reach, and whether they are met."""
        means, geometrics, slower = (
            sorted(map(of, self.law), reverse=of != self.slower)
            for of in (self.mean, self.geometric, self.slower)
        )
        at = max(0, math.ceil(0.9 * len(self.law)) - 1)
        rivals = self.constants.values()
        over = means[at] / max(map(self.mean, rivals))
        over_geometric = geometrics[at] / max(map(self.geometric, rivals))
        return {
            "share of the oracle": (means[at], means[at] >= self.share),
            "over the best constant, mean": (over, over > 1.0),
            "over the best constant, geometric mean": (over_geometric, over_geometric > 1.0),
            "p95 over the best constant's": (slower[at], slower[at] <= 1.0),
        }


def scenario(phase_s: float, *, start: int = STOCK) -> Scenario:
    """The day in virtual time."""
    phases = tuple(replace(phase, at_s=index * phase_s) for index, (_, phase) in enumerate(COURSE))
    group = Group(clients=4, starts=(float(start),), floor=1.0, ceiling=float(MOST))
    return Scenario(
        name="day",
        text="a day that changes",
        duration_s=len(phases) * phase_s,
        phases=phases,
        groups=(group,),
        classes=CLASSES,
        noise=0.06,
    )


def _play(task: tuple[str, int, int, float]) -> Course:
    law, constant, seed, phase_s = task
    made = fixed_start if constant else named_law(law)
    trace = Simulation(scenario(phase_s, start=constant or STOCK), made, seed).run()
    p95_s = tuple(max(1e-6, total.quantile(0.95)) for total in trace.totals)
    return Course(tuple(map(float, trace.finished)), p95_s, trace if not constant and seed == 0 else None)


def play_day(law: str, *, seeds: int = SEEDS, short: bool = False, processes: int = 2) -> Day:
    """The law with every seed, the constants with the first ones."""
    phase_s = SHORT_PHASE_S if short else PHASE_S
    constants = SHORT_CONSTANTS if short else CONSTANTS
    few = range(1 if short else CONSTANT_SEEDS)
    tasks = [(law, 0, seed, phase_s) for seed in range(1 if short else seeds)]
    tasks += [(law, constant, seed, phase_s) for constant in constants for seed in few]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        courses = pool.map(_play, tasks, chunksize=1)
    laws = [course for task, course in zip(tasks, courses, strict=True) if not task[1]]
    held: dict[int, list[Course]] = {constant: [] for constant in constants}
    for task, course in zip(tasks, courses, strict=True):
        if task[1]:
            held[task[1]].append(course)
    averages = {constant: _average(found) for constant, found in held.items()}
    return Day(laws, averages, SHORT_SHARE if short else SHARE)


def _average(courses: Sequence[Course]) -> Course:
    def mean(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
        return tuple(sum(column) / len(column) for column in zip(*rows, strict=True))

    return Course(mean([course.done for course in courses]), mean([course.p95_s for course in courses]))


def table(day: Day, law: str) -> str:
    """Shares of the oracle, by arm and phase, as Markdown."""
    lines = [
        f"| held all day | {' | '.join(NAMES)} | mean | geometric mean | p95 |",
        "|---" * (len(NAMES) + 4) + "|",
    ]
    median = sorted(day.law, key=day.mean)[len(day.law) // 2]
    for name, course in [*((str(c), course) for c, course in day.constants.items()), (f"**{law}**", median)]:
        cells = [f"{share:.2f}" for share in day.shares(course)]
        cells += [f"{day.mean(course):.3f}", f"{day.geometric(course):.3f}", f"{day.slower(course):.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
