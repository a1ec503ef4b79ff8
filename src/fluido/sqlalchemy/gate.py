"""The pool's gate: lets in as many callers as the law wants, and as there may be connections for."""

import asyncio
import math
from collections.abc import Callable

from fluido.flow.lanes import LanedGate
from fluido.sqlalchemy.follower import Follower


class ConnectionGate(LanedGate):
    """A gate whose limit is raised by one connection at a time while callers wait.

    `wanted` is what the law (or a pin) asks for; `limit`, the one in force, is never above what the
    follower allows.
    """

    def __init__(
        self,
        wanted: float,
        follower: Follower,
        *,
        max_waiting: int,
        is_heavy: Callable[[str], bool],
        clock: Callable[[], float],
        name: str,
    ) -> None:
        self.wanted = wanted
        self.follower = follower
        self.cap = math.inf
        # Set once a caller names its work: until then there is nothing to ask about lanes.
        self.laned = False
        self._growth: asyncio.TimerHandle | None = None
        super().__init__(
            self._permitted(), max_waiting=max_waiting, is_heavy=is_heavy, clock=clock, name=name
        )

    def try_acquire(self, label: str = "", /) -> bool:
        """Take a permit if one is free for this label's lane and nobody of that lane waits."""
        if self.laned:
            return super().try_acquire(label)
        if self.inflight >= self._threshold or self.waiting or self.closed:
            return False
        self.inflight += 1
        self.admitted += 1
        return True

    def resize(self, limit: float) -> None:
        """Put another limit in force, as far as connections may be opened for it."""
        self.wanted = limit
        super().resize(self._permitted())
        if self.waiting:
            self.grow()

    def release(self, label: str = "", /) -> None:
        """Give one permit back, under the label that took it."""
        if self.heavy_inflight:
            super().release(label)
            return
        # As Gate.release(): a call less, once a checkout.
        if self.inflight <= 0:
            raise RuntimeError("release() without acquire()")
        self.inflight -= 1
        if self._threshold != self.limit:
            self._draw()
        if self.waiting:
            self._hand_over()

    def grow(self) -> bool:
        """Let one more connection be opened if it is time, else set the timer that does."""
        wait_s = self.follower.grow(min(self.wanted, self.cap), self._clock())
        if wait_s == 0.0:
            super().resize(self._permitted())
            return True
        if math.isfinite(wait_s) and self._growth is None:
            self._growth = asyncio.get_running_loop().call_later(wait_s, self._grow_later)
        return False

    def shrink(self) -> None:
        """A connection was closed for good."""
        self.follower.shrink()
        super().resize(self._permitted())

    def rest(self) -> None:
        """Stop the timer."""
        if self._growth is not None:
            self._growth.cancel()
            self._growth = None

    def _grow_later(self) -> None:
        self._growth = None
        while self.waiting and self.grow():
            pass

    def _permitted(self) -> float:
        return max(1.0, min(self.wanted, self.cap, float(self.follower.allowed)))
