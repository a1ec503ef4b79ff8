"""Random callers, cancellations, deadlines and resizes against a gate: does it keep what it promises?"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Literal

from fluido.flow._gate import Gate
from fluido.testing.virtual_loop import VirtualLoop

Kind = Literal["enter", "leave", "cancel", "resize", "tick", "hurry"]
Action = tuple[Kind, int]
KINDS: tuple[Kind, ...] = ("enter", "enter", "leave", "cancel", "resize", "tick", "hurry")
LARGEST = 7
ACTIONS = 60


class Broken(AssertionError):
    """A promise that the gate did not keep; the message says which."""


class Play:
    """Callers of one gate. `act` does one thing to them, `check_out` lets them all leave."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.tasks: list[asyncio.Task[None]] = []
        self.inside: list[int] = []
        self.exits: dict[int, asyncio.Event] = {}
        self.overtaken = 0

    async def act(self, action: Kind, argument: int) -> None:
        """One caller comes, leaves or is cancelled, the limit moves, or time passes."""
        if action in {"enter", "hurry"}:
            number = len(self.tasks)
            self.exits[number] = asyncio.Event()
            deadline_s = asyncio.get_running_loop().time() + 0.5 if action == "hurry" else None
            self.tasks.append(asyncio.create_task(self._caller(number, deadline_s)))
        elif action == "leave" and self.inside:
            self.exits[self.inside[argument % len(self.inside)]].set()
        elif action == "cancel" and self.tasks:
            self.tasks[argument % len(self.tasks)].cancel()
        elif action == "resize":
            self.gate.resize(1 + argument / 2)
        elif action == "tick":
            await asyncio.sleep(0 if argument < 6 else 0.3)
        if len(self.inside) > self.gate.inflight:
            raise Broken("somebody is inside without a permit")

    async def settle(self, *, fair: bool) -> None:
        """Nothing is on its way any more: permits and callers must add up."""
        for _ in range(6):
            await asyncio.sleep(0)
        if self.gate.inflight != len(self.inside):
            raise Broken("a permit leaked")
        # A gate with lanes lets heavy calls wait beside free permits on purpose.
        if fair and self.gate.waiting and self.gate.inflight < self.gate._threshold:
            raise Broken("a free permit and a waiter: a wake-up was lost")

    async def check_out(self, *, fair: bool) -> None:
        """Everybody leaves: whoever waits must get in, in order."""
        gate = self.gate
        while self.inside or gate.waiting:
            for number in self.inside:
                self.exits[number].set()
            await asyncio.sleep(1e-6)
            if not self.inside and gate.waiting:
                await asyncio.sleep(1.0)
                if gate.waiting and not self.inside:
                    raise Broken("somebody waits and nobody is inside: a wake-up was lost")
        if gate.inflight or gate.waiting:
            raise Broken("a permit leaked")
        if fair and self.overtaken:
            raise Broken("somebody was overtaken")

    async def _caller(self, number: int, deadline_s: float | None) -> None:
        label = "heavy" if number % 3 == 0 else "light"
        gate = self.gate
        arrived = gate.queue._serials
        await gate.acquire(label=label, deadline_s=deadline_s)
        self.overtaken += any(
            waiter.serial <= arrived for line in gate._lines() for waiter in line.everybody()
        )
        self.inside.append(number)
        try:
            await self.exits[number].wait()
        finally:
            self.inside.remove(number)
            self.gate.release(label)


async def play(make: Callable[[], Gate], actions: Sequence[Action], *, fair: bool = True) -> None:
    """Play `actions` on a fresh gate. Raises Broken. With `fair`, nobody may be overtaken."""
    run = Play(make())
    try:
        for action, argument in actions:
            await run.act(action, argument)
        await run.settle(fair=fair)
        await run.check_out(fair=fair)
    finally:
        for task in run.tasks:
            task.cancel()
        await asyncio.gather(*run.tasks, return_exceptions=True)


def plain(kind: type[Gate] = Gate) -> Gate:
    """A gate of that kind on the clock of the running loop."""
    return kind(1.5, max_waiting=1000, clock=asyncio.get_running_loop().time)


def broken_promise(kind: type[Gate], seed: int) -> str:
    """What a gate of that kind breaks in one random play; empty when it keeps all."""
    chance = random.Random(seed)  # noqa: S311  (a play wants repeatable numbers)
    actions = [(chance.choice(KINDS), chance.randint(0, LARGEST)) for _ in range(ACTIONS)]
    try:
        VirtualLoop().run(play(lambda: plain(kind), actions))
    except Broken as error:
        return str(error)
    return ""
