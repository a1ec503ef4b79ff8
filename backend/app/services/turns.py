"""One turn of a conversation at a time, in the order of arrival."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from fluido.flow.gate import Gate

# A person sends one message after the other; more than this at once is a fault of a client.
MAX_WAITING_PER_CONVERSATION = 8


class Turns:
    """Lets the next message of a conversation begin when the answer before it is stored.

    Without that, the second prompt would lack the first answer, and the prefix that the engine
    keeps for the conversation would never match again.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._gates: dict[UUID, Gate] = {}

    @asynccontextmanager
    async def hold(self, conversation_id: UUID, deadline_s: float) -> AsyncIterator[None]:
        """Wait for the turn; `LimitReached` when too many wait, `WaitTimeout` at the deadline."""
        gate = self._gates.get(conversation_id)
        if gate is None:
            gate = Gate(1, max_waiting=MAX_WAITING_PER_CONVERSATION, clock=self._clock, name="turn")
            self._gates[conversation_id] = gate
        try:
            await gate.acquire(deadline_s=deadline_s)
        except BaseException:
            self._forget(conversation_id, gate)
            raise
        try:
            yield
        finally:
            gate.release()
            self._forget(conversation_id, gate)

    def __len__(self) -> int:
        """How many conversations have a turn in progress."""
        return len(self._gates)

    def _forget(self, conversation_id: UUID, gate: Gate) -> None:
        if gate.inflight == 0 and gate.waiting == 0 and self._gates.get(conversation_id) is gate:
            del self._gates[conversation_id]
