"""Callers of a simulated engine, through a real Dispatcher in virtual time: what each got, and when."""

import asyncio
import math
import random
import statistics
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from fluido.laws._base import Law
from fluido.laws._fixed import Fixed
from fluido.llm import Call, Dispatcher, EngineFacts, Message, Options
from fluido.testing.engine import EngineTruth, SimulatedEngine
from fluido.testing.virtual_loop import VirtualLoop

NO_LIMIT = 10_000
WATCH_S = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """Who asks. `callers` come back at once (after `think_s` on average), or `rate` a second come by chance.

    `scatter` is the sigma of a lognormal factor on the length of an answer.
    """

    callers: int = 0
    rate: float = 0.0
    prompt: int = 100
    answer: int = 30
    scatter: float = 0.0
    think_s: float = 0.0
    users: int = 0

    def length(self, chance: random.Random) -> int:
        """Of the next answer, in tokens."""
        return max(1, round(self.answer * chance.lognormvariate(0.0, self.scatter)))


@dataclass(slots=True)
class Played:
    """What came of it. `answers`: when each came, had its first token, and ended."""

    answers: list[tuple[float, float, float]] = field(default_factory=list)
    trail: list[tuple[float, int, float]] = field(default_factory=list)  # time, tokens so far, limit
    decisions: list[tuple[float, float, str]] = field(default_factory=list)
    refused: int = 0
    failed: int = 0

    def rate(self, from_s: float, until_s: float) -> float:
        """Tokens a second."""
        first = max(entry for entry in self.trail if entry[0] <= from_s)
        last = max(entry for entry in self.trail if entry[0] <= until_s)
        return (last[1] - first[1]) / (last[0] - first[0])

    def whole_s(self, from_s: float = 0.0) -> float:
        """Mean time of a whole answer, of those that came after `from_s`."""
        return statistics.fmean(end - came for came, _, end in self.answers if came >= from_s)

    def first_s(self, from_s: float = 0.0, *, share: float = 0.5) -> float:
        """Time to the first token, a quantile."""
        waits = sorted(first - came for came, first, _ in self.answers if came >= from_s)
        return waits[int(share * (len(waits) - 1))]

    @property
    def limit(self) -> float:
        """At the end."""
        return self.trail[-1][2]


def play(
    truth: EngineTruth,
    load: Load,
    *,
    seconds: float,
    limit: int | None = None,
    speeds: Sequence[tuple[float, float]] = (),
    seed: int = 1,
) -> Played:
    """Play `load` for so many virtual seconds. `limit=None`: the law's; `NO_LIMIT`: as without us.

    `speeds`: when, and how fast the engine is from then on.
    """
    loop = VirtualLoop()
    law: Callable[[EngineFacts], Law] | None = None if limit is None else lambda _: Fixed(limit)
    return loop.run(_play(truth, load, seconds, law, speeds, seed))


async def _play(  # noqa: PLR0917  (the arguments of `play`)
    truth: EngineTruth,
    load: Load,
    seconds: float,
    law: Callable[[EngineFacts], Law] | None,
    speeds: Sequence[tuple[float, float]],
    seed: int,
) -> Played:
    clock = asyncio.get_running_loop().time
    chance = random.Random(seed)  # noqa: S311  (a simulation)
    engine = SimulatedEngine(truth, seed=seed)
    played = Played()
    async with Dispatcher([engine], law=law, max_waiting=NO_LIMIT, max_wait_s=1e6, clock=clock) as dispatcher:
        station = dispatcher.stations[0]

        async def ask(user: str) -> None:
            came_s, first_s = clock(), math.nan
            text = "x" * load.prompt
            options = Options(num_predict=load.length(chance))
            call = Call((Message("user", text),), options=options, conversation=user, trim=False)
            async with aclosing(dispatcher.stream(call)) as stream:
                async for _ in stream:
                    first_s = clock() if math.isnan(first_s) else first_s
            played.answers.append((came_s, first_s, clock()))

        async def watch() -> None:
            while True:
                played.trail.append((clock(), engine.tokens, station.law.value))
                await asyncio.sleep(WATCH_S)

        async def change() -> None:
            for at_s, speed in speeds:
                await asyncio.sleep(at_s - clock())
                engine.factor = speed

        tasks = [asyncio.ensure_future(each) for each in (watch(), change())]
        people = asyncio.ensure_future(_people(load, ask, chance, seconds, clock))
        await asyncio.sleep(seconds)
        played.trail.append((clock(), engine.tokens, station.law.value))
        for task in (*tasks, people):
            task.cancel()
        await asyncio.gather(*tasks, people, return_exceptions=True)
        played.refused = engine.refused
        played.failed = dispatcher.stats().failed
        played.decisions = [(d.at_s, d.value, d.reason) for d in station.stats().decisions]
    return played


async def _people(
    load: Load,
    ask: Callable[[str], Awaitable[None]],
    chance: random.Random,
    seconds: float,
    clock: Callable[[], float],
) -> None:
    async def caller(number: int) -> None:
        while clock() < seconds:
            await ask(f"caller-{number}")
            if load.think_s:
                await asyncio.sleep(chance.expovariate(1.0 / load.think_s))

    async with asyncio.TaskGroup() as group:
        for number in range(load.callers):
            group.create_task(caller(number))
        number = 0
        while load.rate and clock() < seconds:
            await asyncio.sleep(chance.expovariate(load.rate))
            number += 1
            user = f"user-{number % load.users}" if load.users else ""
            group.create_task(_asked(ask, user))


async def _asked(ask: Callable[[str], Awaitable[None]], user: str) -> None:
    await ask(user)
