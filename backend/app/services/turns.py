"""One turn of a conversation at a time, in the order of arrival."""

import time
from collections.abc import Callable

from fluido import Gate

# A person sends one message after the other; more than this at once is a fault of a client.
MAX_WAITING_PER_CONVERSATION = 8


class Turns:
    """Lets the next message of a conversation begin when the answer before it is stored.

    Without that, the second prompt would lack the first answer, and the prefix that the engine
    keeps for the conversation would never match again.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._gates: dict[str, Gate] = {}

    def line_up(self, key: str) -> "Turn":
        """Stand in line for `key`, a conversation of one owner; `leave` it in any case."""
        gate = self._gates.get(key)
        if gate is None:
            gate = Gate(1, max_waiting=MAX_WAITING_PER_CONVERSATION, clock=self._clock, name="turn")
            self._gates[key] = gate
        return Turn(gate, lambda: self._forget(key, gate))

    def __len__(self) -> int:
        """How many conversations have a turn in progress."""
        return len(self._gates)

    def _forget(self, key: str, gate: Gate) -> None:
        if gate.inflight == 0 and gate.waiting == 0 and self._gates.get(key) is gate:
            del self._gates[key]


class Turn:
    """One message's turn in its conversation."""

    def __init__(self, gate: Gate, left: Callable[[], None]) -> None:
        self._gate = gate
        self._left = left
        self._has_come = False

    async def comes(self, deadline_s: float) -> None:
        """Wait for it; `LimitReached` when too many wait, `WaitTimeout` at the deadline."""
        await self._gate.acquire(deadline_s=deadline_s)
        self._has_come = True

    def leave(self) -> None:
        """Let the next one begin. Idempotent."""
        if self._has_come:
            self._has_come = False
            self._gate.release()
        self._left()
