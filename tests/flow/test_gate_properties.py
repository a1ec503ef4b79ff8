"""Random callers, cancellations, resizes, deadlines: no permit leaks, no wake-up is lost, nobody overtakes.

The same properties must catch gates that are broken on purpose.
"""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluido import Gate
from fluido.flow._lanes import LanedGate
from fluido.testing.gate_control import ForgetfulGate, LeakyGate, gate_verdicts
from fluido.testing.gate_play import KINDS, LARGEST, Action, broken_promise, plain, play
from fluido.testing.virtual_loop import VirtualLoop

ACTIONS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, LARGEST)), max_size=60)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def laned() -> Gate:
    now = asyncio.get_running_loop().time
    return LanedGate(2, max_waiting=1000, is_heavy=lambda label: label == "heavy", clock=now)


@QUICK
@given(ACTIONS)
def test_a_gate_keeps_its_promises(actions: list[Action]) -> None:
    VirtualLoop().run(play(plain, actions))


@QUICK
@given(ACTIONS)
def test_a_gate_with_lanes_keeps_its_promises(actions: list[Action]) -> None:
    VirtualLoop().run(play(laned, actions, fair=False))


class UnfairGate(Gate):
    """Lets a newcomer take the permit that a waiter should have."""

    def _hand_over(self) -> None:
        asyncio.get_running_loop().call_soon(super()._hand_over)

    def try_acquire(self, _label: str = "", /) -> bool:
        if self.inflight >= self._threshold or self.closed:
            return False
        self.inflight += 1
        self.meter.admitted += 1
        return True


@pytest.mark.parametrize(
    ("broken", "reason"),
    [(LeakyGate, "leaked"), (ForgetfulGate, "wake-up"), (UnfairGate, "overtaken")],
)
def test_a_broken_gate_is_caught(broken: type[Gate], reason: str) -> None:
    """The negative control of this suite."""
    found = [broken_promise(broken, seed) for seed in range(100)]
    assert any(reason in promise for promise in found)


def test_the_table_names_what_broken_gates_do() -> None:
    ours, leaky, forgetful = gate_verdicts(60)
    assert ours.passed
    assert ours.value == 0
    assert (leaky.figure, forgetful.figure) == ("leaked_permit", "lost_wake_up")
    for verdict in (leaky, forgetful):
        assert verdict.control
        assert verdict.passed
        assert verdict.value > 0.05
