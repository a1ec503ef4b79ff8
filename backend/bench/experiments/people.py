"""People who come back: capacity of each version, loads in its shares, the ladder, live conversations.

The load is a number of people in a closed loop with time to read. How many make a share of a capacity follows
from that capacity, which is measured in every run for every version: without pauses, in rounds of its own.
"""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from bench.arrivals import spread_seed
from bench.catalogue import CAPACITY_OF, LIVING
from bench.experiment import RESTART_S, SETTLE_S, Context
from bench.load import Load, Send
from bench.measures import TOTAL_SLO_S, TTFT_SLO_S
from bench.samples import Outcome, Results, Sample
from bench.trial import Scene, Stand, Taken, in_turn
from bench.workloads import VISIT, Pauses, Population

CREW = 16
ENOUGH = 20
"""Answers from which a capacity can be told."""
LEAST = 200
"""People in a block, where a load is a share of a capacity."""
DRAIN_S = 0.8
"""From the last question of a block to its last answer."""
BEFORE_S = 2.5
"""For those who are in the middle of a visit to have asked before the block begins."""
OFFERED = 0.6
"""Share of V1's capacity that is offered while the number of live conversations grows."""


@dataclass(frozen=True, slots=True)
class CrewArm:
    """A block without pauses: what a version answers a second when it is never left without work."""

    name: str
    send: Send
    people: Population
    block_s: float
    deadline_s: float
    size: int = CREW

    async def run(self, seed: int) -> Taken:
        """Visits are under way when it begins. The first third fills the queue and is not counted."""
        del seed
        load = Load(self.send, deadline_s=self.deadline_s)
        size = min(self.size, max(1, self.people.count // 2))
        await load.closed_loop(self.people.before(), crew=size)
        samples = await load.crew(self.people.sequence(), size=size, duration_s=self.block_s, least=ENOUGH)
        answered = [s.finished_s for s in samples if s.outcome is Outcome.ANSWERED]
        figures = {"per_s": rate_after(answered, max(answered) / 3)} if answered else {}
        return Taken((), {**figures, "requests": float(len(samples))}, self.block_s, self.people.count)


def rate_after(finished_s: Sequence[float], from_s: float) -> float:
    """Answers a second from the last one before `from_s` to the last of all."""
    ordered = sorted(finished_s)
    counted = [at for at in ordered if at > from_s]
    before = max((at for at in ordered if at <= from_s), default=from_s)
    return len(counted) / (counted[-1] - before) if counted and counted[-1] > before else 0.0


@dataclass(frozen=True, slots=True)
class PeopleArm:
    """A block of people with time to read, in visits that are under way when it begins.

    What is asked in the first `warm_s` seconds is not counted.
    """

    name: str
    send: Send
    people: Population
    warm_s: float
    block_s: float
    deadline_s: float
    have_met: bool = False
    """Everybody has asked already."""

    async def run(self, seed: int) -> Taken:
        del seed
        until_s = self.warm_s + self.block_s
        load = Load(self.send, deadline_s=self.deadline_s)
        if not self.have_met:
            await load.closed_loop(self.people.before(), crew=8)
        samples = await load.people(self.people.scripts(), until_s=until_s, from_s=self.warm_s)
        return Taken(samples, _figures(samples), self.block_s, self.people.count)


def _figures(samples: Sequence[Sample]) -> dict[str, float]:
    answered = [s for s in samples if s.outcome is Outcome.ANSWERED]
    sent = sum(s.prompt_tokens for s in answered)
    return {"cached_share": sum(s.cached_tokens for s in answered) / sent} if sent else {}


@dataclass(frozen=True, slots=True)
class Capacity:
    """Every version without pauses, with as many people as a load has."""

    arms: tuple[str, ...]
    rounds: int
    block_s: float
    people: int = 300
    name: str = CAPACITY_OF
    levels: tuple[float, ...] = (1.0,)

    @property
    def processes(self) -> tuple[str, ...]:
        return self.arms

    def round_s(self) -> float:
        return len(self.arms) * (RESTART_S + SETTLE_S + BEFORE_S + self.block_s)

    @asynccontextmanager
    async def opened(self, context: Context) -> AsyncIterator[Stand]:
        @asynccontextmanager
        async def stand(number: int) -> AsyncIterator[list[Scene]]:
            del number
            people = context.population(f"c{context.number()}", self.people)
            ways = await context.renew(dict.fromkeys(self.arms, people))
            arms = [
                CrewArm(arm, send, people, self.block_s, context.deadline_s) for arm, send in ways.items()
            ]
            yield [Scene(1.0, arms)]

        yield stand


@dataclass(frozen=True, slots=True)
class People:
    """Loads in shares of a capacity. `of`: whose; empty: each version's own.

    Arms that are `seldom` there play the first `few` rounds only. `requests`: so many a block, in the place
    of `block_s`, for an engine that needs seconds for one.
    """

    name: str
    arms: tuple[str, ...]
    levels: tuple[float, ...]
    rounds: int
    block_s: float
    warm_s: float = 5.0
    of: str = ""
    seldom: tuple[str, ...] = ()
    few: int = 5
    requests: int = 0

    @property
    def processes(self) -> tuple[str, ...]:
        return (*self.arms, *self.seldom)

    def round_s(self) -> float:
        block_s = RESTART_S + SETTLE_S + BEFORE_S + self.warm_s + self.block_s + DRAIN_S
        arms = len(self.arms) + len(self.seldom) * min(1.0, self.few / self.rounds)
        return arms * len(self.levels) * block_s

    @asynccontextmanager
    async def opened(self, context: Context) -> AsyncIterator[Stand]:
        """Nothing is compared where a version answered nothing without pauses: `RuntimeError` says so."""
        capacity = {arm: capacity_of(context.results, self.of or _own(arm)) for arm in self.processes}
        set_slo(context.results, self.name)

        @asynccontextmanager
        async def stand(number: int) -> AsyncIterator[list[Scene]]:
            scenes = []
            for level in in_turn(self.levels, number):
                name = f"p{context.number()}"
                here = self.processes if number < self.few else self.arms
                arms = [
                    _Renewed(context, arm, _asking(context, name, rate), self, self._block_s(rate))
                    for arm in here
                    for rate in (level * capacity[arm],)
                ]
                scenes.append(Scene(level, arms))
            yield scenes

        yield stand

    def _block_s(self, rate_per_s: float) -> float:
        return self.requests / rate_per_s if self.requests else self.block_s


def _own(arm: str) -> str:
    return arm.removesuffix("_again")


def _asking(context: Context, name: str, rate_per_s: float) -> Population:
    """As many people as ask `rate_per_s`; never under 200: they stay away longer instead."""
    cycle_s = context.pauses.cycle_s
    count = round(rate_per_s * cycle_s)
    if count >= LEAST:
        return context.population(name, count)
    longer_s = context.pauses.away_s + (LEAST / rate_per_s - cycle_s) * sum(VISIT) / 2
    return context.population(name, LEAST, Pauses(context.pauses.read_s, longer_s))


@dataclass(frozen=True, slots=True)
class _Renewed:
    """One arm in one round at one load: a new process, its people, and the block."""

    context: Context
    name: str
    people: Population
    plan: People
    block_s: float

    async def run(self, seed: int) -> Taken:
        ways = await self.context.renew({self.name: self.people})
        arm = PeopleArm(
            *(self.name, ways[self.name], self.people),
            *(self.plan.warm_s, self.block_s, self.context.deadline_s),
        )
        return await arm.run(seed)


@dataclass(frozen=True, slots=True)
class Living:
    """More and more conversations that are alive at a time, at the same load: where does what is known end?

    Everybody has asked once before the block, so that whatever an engine can keep of them it could have kept.
    """

    arms: tuple[str, ...]
    rounds: int
    block_s: float
    levels: tuple[float, ...] = (8.0, 32.0, 128.0, 512.0)
    name: str = LIVING

    @property
    def processes(self) -> tuple[str, ...]:
        return self.arms

    def round_s(self) -> float:
        once_s = max(self.levels) / 40.0
        return len(self.arms) * (RESTART_S + once_s + len(self.levels) * (SETTLE_S + self.block_s + DRAIN_S))

    @asynccontextmanager
    async def opened(self, context: Context) -> AsyncIterator[Stand]:
        rate_per_s = OFFERED * capacity_of(context.results, "v1")
        set_slo(context.results, self.name)

        @asynccontextmanager
        async def stand(number: int) -> AsyncIterator[list[Scene]]:
            del number
            everybody = context.population(f"l{context.number()}", round(max(self.levels)))
            ways = await context.renew(dict.fromkeys(self.arms, everybody))
            scenes, before = [], 0
            for level in sorted(self.levels):
                people = replace(everybody, count=round(level), pauses=_steady(level / rate_per_s))
                arms = [
                    _Met(arm, send, people, before, self.block_s, context.deadline_s)
                    for arm, send in ways.items()
                ]
                scenes.append(Scene(level, arms))
                before = round(level)
            yield scenes

        yield stand


def _steady(pause_s: float) -> Pauses:
    """Nobody leaves: one pause after every answer."""
    return Pauses(pause_s, pause_s)


@dataclass(frozen=True, slots=True)
class _Met:
    """A block of people who have all asked once; those from `before` on are new since the last level."""

    name: str
    send: Send
    people: Population
    before: int
    block_s: float
    deadline_s: float

    async def run(self, seed: int) -> Taken:
        load = Load(self.send, deadline_s=self.deadline_s)
        fresh = [script for at, script in enumerate(self.people.scripts()) if at >= self.before]
        first = [replace(next(script.steps).question, output_tokens=8) for script in fresh]
        await load.closed_loop(first, crew=8)
        arm = PeopleArm(self.name, self.send, self.people, 0.0, self.block_s, self.deadline_s, have_met=True)
        return await arm.run(spread_seed(seed, self.name))


def capacity_of(results: Results, arm: str) -> float:
    """The mean over the rounds of this run. `RuntimeError` where the version answered nothing."""
    rates = [block.figures.get("per_s", 0.0) for block in results.select(CAPACITY_OF, arm)]
    found = sum(rates) / len(rates) if rates else 0.0
    if not found > 0 or not math.isfinite(found):
        raise RuntimeError(f"{arm} answered nothing without pauses, so no load is a share of its capacity")
    return found


def set_slo(results: Results, experiment: str) -> None:
    """One and four seconds; more where a crew of V1 would wait longer than that by itself."""
    slower = max(1.0, CREW / capacity_of(results, "v1") / TOTAL_SLO_S)
    bounds = {"ttft_s": TTFT_SLO_S * slower, "total_s": TOTAL_SLO_S * slower}
    results.configuration["slo"][experiment] = bounds
