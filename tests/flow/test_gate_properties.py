"""Random callers, cancellations, resizes, deadlines: no permit leaks, no wake-up is lost, nobody overtakes.

The same properties must catch gates that are broken on purpose.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fluido import Gate
from fluido.flow.lanes import LanedGate
from fluido.testing.virtual_loop import VirtualLoop

Action = tuple[Literal["enter", "leave", "cancel", "resize", "tick", "hurry"], int]
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "leave", "cancel", "resize", "tick", "hurry"]), st.integers(0, 7)
    ),
    max_size=60,
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Play:
    gate: Gate
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    inside: list[int] = field(default_factory=list)
    exits: dict[int, "asyncio.Event"] = field(default_factory=dict)
    overtaken: int = 0

    async def caller(self, number: int, deadline_s: float | None) -> None:
        label = "heavy" if number % 3 == 0 else "light"
        arrived = self.gate._tickets
        await self.gate.acquire(label=label, deadline_s=deadline_s)
        still_waiting = [waiter.ticket for waiter in self.gate._line.everybody()]
        self.overtaken += sum(ticket <= arrived for ticket in still_waiting)
        self.inside.append(number)
        try:
            await self.exits[number].wait()
        finally:
            self.inside.remove(number)
            self.gate.release(label)

    async def act(self, action: str, argument: int) -> None:
        if action in {"enter", "hurry"}:
            number = len(self.tasks)
            self.exits[number] = asyncio.Event()
            deadline_s = asyncio.get_running_loop().time() + 0.5 if action == "hurry" else None
            self.tasks.append(asyncio.create_task(self.caller(number, deadline_s)))
        elif action == "leave" and self.inside:
            self.exits[self.inside[argument % len(self.inside)]].set()
        elif action == "cancel" and self.tasks:
            self.tasks[argument % len(self.tasks)].cancel()
        elif action == "resize":
            self.gate.resize(1 + argument / 2)
        elif action == "tick":
            await asyncio.sleep(0 if argument < 6 else 0.3)


async def play(make: Callable[[], Gate], actions: list[Action], *, fair: bool) -> None:
    run = Play(make())
    gate = run.gate
    for action, argument in actions:
        await run.act(action, argument)
        assert len(run.inside) <= gate.inflight, "who is inside has a permit"
    for _ in range(6):
        await asyncio.sleep(0)
    assert gate.inflight == len(run.inside), "a permit leaked"
    if fair:  # heavy calls wait beside free permits on purpose
        assert not gate.waiting or gate.inflight >= gate._threshold, "a free permit and a waiter"
    # Everybody leaves: whoever waits must get in, in order.
    while run.inside or gate.waiting:
        for number in run.inside:
            run.exits[number].set()
        await asyncio.sleep(1e-6)
        if not run.inside and gate.waiting:
            await asyncio.sleep(1.0)
            assert run.inside or not gate.waiting, "somebody waits and nobody is inside"
    assert (gate.inflight, gate.waiting) == (0, 0)
    if fair:
        assert not run.overtaken, "somebody was overtaken"
    await asyncio.gather(*run.tasks, return_exceptions=True)


def plain() -> Gate:
    return Gate(1.5, max_waiting=1000, clock=asyncio.get_running_loop().time)


def laned() -> Gate:
    now = asyncio.get_running_loop().time
    return LanedGate(2, max_waiting=1000, is_heavy=lambda label: label == "heavy", clock=now)


@QUICK
@given(ACTIONS)
def test_a_gate_keeps_its_promises(actions: list[Action]) -> None:
    VirtualLoop().run(play(plain, actions, fair=True))


@QUICK
@given(ACTIONS)
def test_a_gate_with_lanes_keeps_its_promises(actions: list[Action]) -> None:
    VirtualLoop().run(play(laned, actions, fair=False))


class LeakyGate(Gate):
    """Granted and cancelled in the same tick, its permit is gone."""

    async def _wait(self, label: str, deadline_s: float | None) -> None:
        held = self.inflight
        try:
            await super()._wait(label, deadline_s)
        except asyncio.CancelledError:
            if self.inflight < held or (self.inflight == held and self.waiting):
                self.inflight += 1
            raise


class ForgetfulGate(Gate):
    """A growing limit wakes nobody."""

    def resize(self, limit: float) -> None:
        waiting, self.waiting = self.waiting, 0
        try:
            super().resize(limit)
        finally:
            self.waiting = waiting


class UnfairGate(Gate):
    """Lets a newcomer take the permit that a waiter should have."""

    def _hand_over(self) -> None:
        asyncio.get_running_loop().call_soon(super()._hand_over)

    def try_acquire(self, _label: str = "", /) -> bool:
        if self.inflight >= self._threshold or self.closed:
            return False
        self.inflight += 1
        self.admitted += 1
        return True


@pytest.mark.parametrize(
    ("broken", "reason"),
    [(LeakyGate, "leaked"), (ForgetfulGate, "a free permit and a waiter"), (UnfairGate, "overtaken")],
)
def test_a_broken_gate_is_caught(broken: type[Gate], reason: str) -> None:
    """The negative control of this suite."""

    @settings(max_examples=600, deadline=None, database=None, phases=[Phase.generate], derandomize=True)
    @given(ACTIONS)
    def attempt(actions: list[Action]) -> None:
        VirtualLoop().run(
            play(
                lambda: broken(1.5, max_waiting=1000, clock=asyncio.get_running_loop().time),
                actions,
                fair=True,
            )
        )

    with pytest.raises(AssertionError, match=reason):
        attempt()
