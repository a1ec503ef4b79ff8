"""A queue of callers who may leave from the middle at no cost."""

import asyncio
from collections import deque


class Waiter:
    """One caller in a line. `turn` is done when it was granted, refused, timed out or cancelled."""

    __slots__ = ("joined_s", "label", "line", "ticket", "timer", "turn")

    def __init__(
        self, turn: "asyncio.Future[None]", label: str, line: "Line", ticket: int, joined_s: float
    ) -> None:
        self.turn = turn
        self.joined_s = joined_s
        self.label = label
        self.line = line
        self.ticket = ticket
        self.timer: asyncio.TimerHandle | None = None


class Line:
    """First in, first out. Leavers stay in the deque until they are the majority: O(1) per leaver, amortised.

    `live` counts who still waits. It includes a cancelled caller until its task has run.
    """

    __slots__ = ("_waiters", "live")

    def __init__(self) -> None:
        self._waiters: deque[Waiter] = deque()
        self.live = 0

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, waiter: Waiter) -> None:
        """Go to the end."""
        self._waiters.append(waiter)
        self.live += 1

    def leave(self, waiter: Waiter) -> None:
        """`waiter` no longer waits, whatever the reason; once per waiter."""
        self.live -= 1
        if waiter.timer is not None:
            waiter.timer.cancel()
        if len(self._waiters) > 2 * self.live + 8:
            self._waiters = deque(waiter for waiter in self._waiters if not waiter.turn.done())

    def head(self) -> Waiter | None:
        """Who is first, or None."""
        waiters = self._waiters
        while waiters:
            if not waiters[0].turn.done():
                return waiters[0]
            waiters.popleft()
        return None

    def everybody(self) -> list[Waiter]:
        """Who still waits, in order."""
        return [waiter for waiter in self._waiters if not waiter.turn.done()]
