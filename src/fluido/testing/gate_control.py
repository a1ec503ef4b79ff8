"""The negative control of the gate: broken ones must be caught, each by the promise that it breaks."""

from fluido.flow._gate import Caller, Gate
from fluido.testing.gate_play import broken_promise
from fluido.testing.runner import Verdict

NAME = "control_broken_gate"
PLAYS = 200


class LeakyGate(Gate):
    """Granted and cancelled in the same tick, its permit is gone."""

    def _give_back(self, _waiter: Caller) -> None:
        """Keep it."""


class ForgetfulGate(Gate):
    """A growing limit wakes nobody."""

    def resize(self, limit: float) -> None:
        """Forget the waiters."""
        waiting, self.queue.waiting = self.queue.waiting, 0
        try:
            super().resize(limit)
        finally:
            self.queue.waiting = waiting


def gate_verdicts(plays: int = PLAYS) -> list[Verdict]:
    """How many of the random plays each gate broke its promise in: none of ours, and some of the broken."""
    ours = [broken_promise(Gate, seed) for seed in range(plays)]
    leaky = [broken_promise(LeakyGate, seed) for seed in range(plays)]
    forgetful = [broken_promise(ForgetfulGate, seed) for seed in range(plays)]
    return [
        _verdict("gate", "broken_plays", sum(map(bool, ours)) / plays, control=False),
        _verdict(NAME, "leaked_permit", sum("leaked" in why for why in leaky) / plays, control=True),
        _verdict(NAME, "lost_wake_up", sum("wake-up" in why for why in forgetful) / plays, control=True),
    ]


def _verdict(name: str, figure: str, value: float, *, control: bool) -> Verdict:
    passed = (value == 0) is not control
    return Verdict(name, figure, value, 0.0, "less", 1.0, passed, passed, control)
