"""The pool's gate: lets in as many callers as the law wants, and as there may be connections for."""

import asyncio
import math
from collections.abc import Callable

from fluido.flow._gate import Caller
from fluido.flow._lanes import LanedGate
from fluido.sqlalchemy._follower import Follower


class ConnectionGate(LanedGate):
    """A gate whose limit is raised by one connection at a time while callers wait.

    `wanted` is what the law (or a pin) asks for; `limit`, the one in force, is never above what the
    follower allows. It bounds `inflight`, the callers at work; `lent` others hold a connection and have lent
    their permit. Together they are `held`, never more than `most`, the connections there may be.
    """

    def __init__(
        self,
        wanted: float,
        follower: Follower,
        *,
        most: int,
        max_waiting: int,
        is_heavy: Callable[[str], bool],
        clock: Callable[[], float],
        name: str,
    ) -> None:
        self.wanted = wanted
        self.follower = follower
        self.most = self._bound = most
        self.lent = 0
        self.opening = 0  # how many connections are being opened
        self.cap = math.inf
        # Set once a caller names its work: until then there is nothing to ask about lanes.
        self.laned = False
        super().__init__(
            self._permitted(), max_waiting=max_waiting, is_heavy=is_heavy, clock=clock, name=name
        )

    def try_acquire(self, label: str = "", /) -> bool:
        """Take a permit if one is free for this label's lane and nobody of that lane waits."""
        if self.laned:
            return super().try_acquire(label)
        if self.inflight >= self._threshold or self.queue.waiting:
            return False
        self.inflight += 1
        self.meter.admitted += 1
        return True

    def resize(self, limit: float) -> None:
        """Put another limit in force, as far as connections may be opened for it."""
        self.wanted = limit
        super().resize(self._permitted())
        if self.queue.waiting:
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
        if self.queue.waiting:
            self._hand_over()

    def grow(self) -> bool:
        """Let one more connection be opened if it is time for it."""
        if self.follower.grow(min(self.wanted, self.cap), self._clock()) > 0.0:
            return False
        super().resize(self._permitted())
        return True

    def shrink(self) -> None:
        """A connection was closed for good."""
        self.follower.shrink()
        super().resize(self._permitted())

    def put_cap(self, connections: float) -> None:
        """Never more than so many connections, whatever is wanted."""
        self.cap = connections
        self.most = max(1, int(min(self._bound, connections)))
        self.resize(self.wanted)

    # -- holders who are not at work --

    @property
    def held(self) -> int:
        """How many callers have a connection, or are having one opened."""
        return self.inflight + self.lent

    def lend(self, label: str) -> None:
        """A holder has nothing to do: its permit goes to the next."""
        self.lent += 1
        self._draw()
        self.release(label)

    def recall(self, label: str) -> None:
        """It asks again. It counts at once and never waits, be the limit exceeded meanwhile."""
        self.lent -= 1
        self.inflight += 1
        if self.laned and self._is_heavy(label):
            self._count_heavy(label)
        self._draw()

    def give_back(self, label: str, *, lent: bool) -> None:
        """A holder gives its connection back, without having asked again where its permit was `lent`."""
        if not lent:
            self.release(label)
            return
        self.lent -= 1
        self._draw()
        if self.queue.waiting:
            self._hand_over()

    def _draw(self) -> None:
        super()._draw()
        self._threshold = min(self._threshold, self.most - self.lent)

    def _grant(self, waiter: Caller) -> None:
        loop = waiter.turn.get_loop()
        if loop.is_closed():
            self.queue.drop(waiter)
            return
        super()._grant(waiter)
        if loop is not asyncio._get_running_loop():
            loop.call_soon_threadsafe(_nothing)  # it sleeps in another thread

    def _permitted(self) -> float:
        return max(1.0, min(self.wanted, self.cap, float(self.follower.allowed)))


def _nothing() -> None:
    """What wakes a loop."""
