"""Arms interleaved in short blocks, in an order drawn for each round: drift hits all of them alike."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bench.arrivals import spread_seed
from bench.environment import Machine, MachineReading
from bench.samples import Block, Sample


@dataclass(frozen=True, slots=True)
class Taken:
    """What one block gave: its requests, and numbers of the block as a whole."""

    samples: Sequence[Sample]
    figures: Mapping[str, float] = field(default_factory=dict)


class Arm(Protocol):
    """One contestant. It is up and warm before the trial starts."""

    @property
    def name(self) -> str: ...

    async def run(self, seed: int) -> Taken:
        """One block; the same seed gives every arm the same requests in the same order."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """When the machine counts as quiet, and how much patience there is."""

    look_s: float = 0.5
    max_busy: float = 0.25
    max_steal: float = 0.05
    patience_s: float = 5.0
    repeats: int = 2
    """Rounds that may be run again in one trial because the machine was busy."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`warm_up` rounds are kept in the results but marked, and no figure uses them."""

    experiment: str
    rounds: int
    level: float = 1.0
    warm_up: int = 1
    seed: int = 1
    quiet: Quiet = Quiet()


class Trial:
    """Yields blocks round by round; a consumer that stops keeps all it was given."""

    def __init__(
        self,
        arms: Sequence[Arm],
        plan: Plan,
        machine: Machine,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._arms = arms
        self._plan = plan
        self._machine = machine
        self._clock = clock
        self._sleep = sleep

    async def rounds(self, done: int = 0) -> AsyncGenerator[list[Block], None]:
        """Complete rounds only: a round has one block of every arm, or it does not count.

        Warm-up rounds have numbers below 0. `done` measured rounds are skipped (a resumed run); the warm-up
        is never skipped.
        """
        repeats = self._plan.quiet.repeats
        for index in (*range(-self._plan.warm_up, 0), *range(done, self._plan.rounds)):
            blocks = await self._round(index, attempt=0)
            while repeats and any(block.busy for block in blocks) and index >= 0:
                repeats -= 1
                blocks = await self._round(index, attempt=self._plan.quiet.repeats - repeats)
            yield blocks

    async def _round(self, index: int, attempt: int) -> list[Block]:
        # A repeated round gets new requests: the old ones are in the caches of the arms by now.
        seed = spread_seed(self._plan.experiment, self._plan.seed, index, attempt)
        order = list(self._arms)
        random.Random(seed).shuffle(order)
        blocks = [await self._block(arm, index, position, seed) for position, arm in enumerate(order)]
        return sorted(blocks, key=lambda block: block.arm)

    async def _block(self, arm: Arm, index: int, position: int, seed: int) -> Block:
        before = await self._settle()
        began = self._clock()
        taken = await arm.run(seed)
        during = self._machine.look()
        quiet = self._plan.quiet
        return Block(
            experiment=self._plan.experiment,
            arm=arm.name,
            level=self._plan.level,
            round=index,
            position=position,
            warm_up=index < 0,
            busy=before.busy > quiet.max_busy or max(before.steal, during.steal) > quiet.max_steal,
            busy_before=before.busy,
            steal=max(before.steal, during.steal),
            load_1m=during.load_1m,
            duration_s=self._clock() - began,
            samples=tuple(taken.samples),
            figures=dict(taken.figures),
        )

    async def _settle(self) -> MachineReading:
        """Looks until nobody else uses the machine, or patience ends; the last look is returned."""
        quiet = self._plan.quiet
        until = self._clock() + quiet.patience_s
        while True:
            self._machine.look()
            await self._sleep(quiet.look_s)
            reading = self._machine.look()
            if reading.busy <= quiet.max_busy or self._clock() >= until:
                return reading


def at_level(plan: Plan, level: float) -> Plan:
    """The same plan at another share of the capacity."""
    return replace(plan, level=level)
