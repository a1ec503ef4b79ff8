"""Arms interleaved in short blocks, in an order drawn for each round: drift hits all of them alike."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
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
    span_s: float | None = None
    """Seconds in which they came, where the block had more: its warm-up, its last answers."""
    people: int = 0


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
    """What is played so often, and how much the machine's peace is waited for."""

    experiment: str
    rounds: int
    level: float = 1.0
    seed: int = 1
    quiet: Quiet = Quiet()
    levels: tuple[float, ...] = ()
    """All loads of a round, where there are several."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One block of every arm at one load. A warm-up is kept, marked, and judged by nobody."""

    level: float
    arms: Sequence[Arm]
    warm_up: bool = False


class Stand(Protocol):
    """Brings every arm up anew: its process, or its pools and clients; what is measured comes out of it."""

    def __call__(self, number: int) -> AbstractAsyncContextManager[Sequence[Scene]]:
        """`number`: of the round, for which the scenes are."""


class Rounds:
    """Plays blocks; knows when the machine is quiet and how often a busy round may be run again."""

    def __init__(
        self,
        plan: Plan,
        machine: Machine,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._plan = plan
        self._machine = machine
        self._clock = clock
        self._sleep = sleep
        self._repeats = plan.quiet.repeats

    async def play(self, scene: Scene, index: int, incarnation: int = 0) -> list[Block]:
        """One block of every arm; with new requests again while the machine is busy and repeats are left."""
        blocks = await self._round(scene, index, incarnation, attempt=0)
        while self._repeats and any(block.busy for block in blocks) and not scene.warm_up:
            self._repeats -= 1
            attempt = self._plan.quiet.repeats - self._repeats
            blocks = await self._round(scene, index, incarnation, attempt=attempt)
        return blocks

    async def _round(self, scene: Scene, index: int, incarnation: int, attempt: int) -> list[Block]:
        # A repeated round gets new requests: the old ones are in the caches of the arms by now.
        # Each load has requests of its own: who asked at one must not be known already at the next.
        seed = spread_seed(self._plan.experiment, self._plan.seed, index, attempt, str(scene.level))
        if scene.warm_up and index >= 0:
            # The requests of a warm-up must not be those that are measured after it.
            seed = spread_seed(seed, "warm-up")
        order = list(scene.arms)
        random.Random(seed).shuffle(order)
        blocks = []
        for position, arm in enumerate(order):
            block = await self._block(arm, seed)
            blocks.append(
                replace(
                    block,
                    level=scene.level,
                    round=index,
                    position=position,
                    warm_up=scene.warm_up,
                    incarnation=incarnation,
                )
            )
        return sorted(blocks, key=lambda block: block.arm)

    async def _block(self, arm: Arm, seed: int) -> Block:
        before = await self._settle()
        began = self._clock()
        taken = await arm.run(seed)
        during = self._machine.look()
        quiet = self._plan.quiet
        return Block(
            experiment=self._plan.experiment,
            arm=arm.name,
            level=self._plan.level,
            round=0,
            position=0,
            warm_up=False,
            busy=before.busy > quiet.max_busy or max(before.steal, during.steal) > quiet.max_steal,
            busy_before=before.busy,
            steal=max(before.steal, during.steal),
            load_1m=during.load_1m,
            duration_s=self._clock() - began if taken.span_s is None else taken.span_s,
            samples=tuple(taken.samples),
            figures=dict(taken.figures),
            people=taken.people,
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


async def incarnations(
    stand: Stand, plan: Plan, rounds: Rounds, *, known: Container[tuple[int, float]] = (), first: int = 0
) -> AsyncGenerator[list[Block], None]:
    """Every round with arms that were brought up for it: one measured block of an arm at each load.

    What a process happens to be (what its laws learned, where its memory lies) is drawn anew each round, so
    that it shows in the spread between rounds instead of hiding in all of them. The scenes in `known` (round
    and level) are left out, a round of which nothing is left altogether. Incarnations count from `first`.
    """
    levels = plan.levels or (plan.level,)
    for index in range(plan.rounds):
        if all((index, level) in known for level in levels):
            continue
        async with stand(index) as scenes:
            for scene in scenes:
                if scene.warm_up or (index, scene.level) not in known:
                    yield await rounds.play(scene, index, first + index)


def in_turn(levels: Sequence[float], number: int) -> tuple[float, ...]:
    """The order of loads in a round: each comes first, second and so on equally often.

    Conversations grow while they are measured, so a load that always came last would have the longest ones.
    """
    cycle, at = divmod(number, len(levels))
    order = list(levels)
    random.Random(cycle).shuffle(order)
    return tuple(order[at:] + order[:at])
