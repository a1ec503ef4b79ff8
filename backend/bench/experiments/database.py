"""The database's limit on a real PostgreSQL: a day that changes, and work that does not.

The phases are those of `bench.day`, the kinds of work those of `bench.no_harm`, and so are the arms.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from bench import day, no_harm
from bench.catalogue import CELLS, DAY, FIRST_SECONDS, LAW, PHASES, STATIONARY, STOCK, constant
from bench.experiment import SETTLE_S, Context
from bench.postgres import arms
from bench.postgres.ground import database
from bench.postgres.limits import co_tenant, lawful, learned
from bench.postgres.loops import Work, closed
from bench.samples import Timeline
from bench.trial import Scene, Stand, Taken
from fluido.laws import Law

OPEN_S = 0.25
"""To open an arm's pool anew and to close it."""
START_S = 3.0


@dataclass(slots=True)
class _Today:
    """What lasts over the phases of one day: the law, and what it did."""

    law: Law = field(default_factory=learned)
    did: day.Arm = field(default_factory=day.Arm)


@dataclass(frozen=True, slots=True)
class _Phase:
    """One arm in one phase: `size` constants, or the law as the phases before left it."""

    name: str
    url: str
    index: int
    size: int
    today: _Today
    block_s: float

    async def run(self, seed: int) -> Taken:
        del seed
        phase = day.COURSE[self.index]
        into = self.today.did if self.size == day.LAW else day.Arm()
        if self.size == day.LAW and phase.restart:
            self.today.law = learned(self.today.law)
        arm = lawful(self.url, self.today.law) if self.size == day.LAW else arms.fixed(self.url, self.size)
        with co_tenant() if phase.taken else nullcontext():
            await day.played(arm, phase, self.block_s, into, at_s=self.index * self.block_s)
        figures = {"per_s": into.rates[self.index][-1], "p95_s": into.p95_ms[self.index][-1] / 1e3}
        return Taken((), figures, self.block_s, phase.tasks)


@dataclass(frozen=True, slots=True)
class Day:
    """Ten phases between which the best limit changes. Each round is a day of its own, with a new law."""

    rounds: int
    law_s: float = 4.0
    constant_s: float = 1.0
    constants: tuple[int, ...] = (4, 15, 50)
    name: str = DAY

    @property
    def levels(self) -> tuple[float, ...]:
        return tuple(float(at) for at in range(1, len(PHASES) + 1))

    @property
    def processes(self) -> tuple[str, ...]:
        return ()

    def round_s(self) -> float:
        arms_s = self.law_s + len(self.constants) * self.constant_s
        return len(PHASES) * (arms_s + (1 + len(self.constants)) * (OPEN_S + SETTLE_S))

    @asynccontextmanager
    async def opened(self, context: Context) -> AsyncIterator[Stand]:
        async with database() as url:

            @asynccontextmanager
            async def stand(number: int) -> AsyncIterator[list[Scene]]:
                today = _Today()
                yield [Scene(float(at + 1), self._arms(url, at, today)) for at in range(len(PHASES))]
                context.keep(timeline(today.did, number, self.law_s))

            yield stand

    def _arms(self, url: str, index: int, today: _Today) -> list[_Phase]:
        held = [_Phase(constant(size), url, index, size, today, self.constant_s) for size in self.constants]
        return [_Phase(LAW, url, index, day.LAW, today, self.law_s), *held]


def timeline(did: day.Arm, number: int, phase_s: float) -> Timeline:
    """Limit and reference over the law's own time, when each phase began, and why the limit moved."""
    rows = did.limits
    moves = [
        (round(now[0], 3), now[3])
        for before, now in pairwise(rows)
        if now[3] != before[3] or now[1] != before[1]
    ]
    starts = [(at * phase_s, f"phase {name}") for at, name in enumerate(PHASES)]
    values = {"limit": [float(row[1]) for row in rows], "reference": [float(row[2]) for row in rows]}
    return Timeline(DAY, LAW, number, [round(row[0], 3) for row in rows], values, [*starts, *moves])


@dataclass(frozen=True, slots=True)
class _Cell:
    """One arm under one kind of work, on a fresh pool; what its first `skip_s` seconds did is not counted."""

    name: str
    url: str
    work: Work
    size: int
    law: Law | None
    block_s: float
    skip_s: float = 0.0

    async def run(self, seed: int) -> Taken:
        del seed
        arm = self._arm()
        await arm.open()
        began_s = time.perf_counter()
        block = await closed(arm, self.work, tasks=day.TASKS, duration_s=self.skip_s + self.block_s)
        await arm.close()
        counted = [
            total
            for ended_s, total in zip(block.ended, block.totals, strict=True)
            if self.skip_s <= ended_s - began_s <= self.skip_s + self.block_s
        ]
        figures = {"per_s": len(counted) / self.block_s}
        if counted:
            figures["p95_s"] = float(np.quantile(counted, 0.95))
        return Taken((), figures, self.block_s, day.TASKS)

    def _arm(self) -> arms.EngineArm:
        if self.law is not None:
            return lawful(self.url, self.law)
        if self.name == STOCK:
            return no_harm.stock(self.url)
        return arms.fixed(self.url, self.size) if self.size else no_harm.ours(self.url)


@dataclass(frozen=True, slots=True)
class Stationary:
    """Work that does not change: the first seconds against stock, later also against the constants."""

    rounds: int
    cells: tuple[str, ...] = CELLS
    first_s: float = 5.0
    later_s: float = 2.0
    learn_s: float = 10.0
    constants: tuple[int, ...] = (4, 15, 50)
    name: str = STATIONARY

    @property
    def levels(self) -> tuple[float, ...]:
        numbers = [float(CELLS.index(cell) + 1) for cell in self.cells]
        return (*numbers, *(number + FIRST_SECONDS for number in numbers))

    @property
    def processes(self) -> tuple[str, ...]:
        return ()

    def round_s(self) -> float:
        later_s = (2 + len(self.constants)) * (OPEN_S + SETTLE_S + 0.75 + self.later_s)
        learn_s = self.learn_s / self.rounds
        return len(self.cells) * (later_s + learn_s + 2 * (OPEN_S + SETTLE_S + self.first_s))

    @asynccontextmanager
    async def opened(self, context: Context) -> AsyncIterator[Stand]:
        del context
        async with database() as url:
            laws = {cell: learned() for cell in self.cells}
            for cell, law in laws.items():
                await _Cell(LAW, url, no_harm.CLOSED[cell], 0, law, self.learn_s).run(0)

            @asynccontextmanager
            async def stand(number: int) -> AsyncIterator[list[Scene]]:
                del number
                scenes = []
                for cell, law in laws.items():
                    at, work = float(CELLS.index(cell) + 1), no_harm.CLOSED[cell]
                    later = [
                        _Cell(LAW, url, work, 0, law, self.later_s, 0.75),
                        _Cell(STOCK, url, work, 0, None, self.later_s, 0.75),
                        *(_Cell(constant(n), url, work, n, None, self.later_s, 0.75) for n in self.constants),
                    ]
                    first = [
                        _Cell(LAW, url, work, 0, None, self.first_s),
                        _Cell(STOCK, url, work, 0, None, self.first_s),
                    ]
                    scenes += [Scene(at, later), Scene(at + FIRST_SECONDS, first)]
                yield scenes

            yield stand
