"""How a replica leaves: it says so first, then takes no new work, ends what is left, and only then closes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum

# How long the last words of answers that were cut may take to reach their clients.
LAST_WORDS_S = 2.0


class Phase(IntEnum):
    """Where a replica is on its way out; never goes back."""

    SERVING = 0
    ANNOUNCED = 1
    REFUSING = 2
    CUT = 3


class Drain:
    """The way out of one replica, and what is still under way.

    `announce_s`: readiness says no and work is still taken, so that a balancer finds out before anybody is
    refused. `grace_s`: newcomers are refused, and what runs may end. What is left then is cut: each piece of
    work is told by the callback that it registered.
    """

    def __init__(
        self,
        *,
        announce_s: float = 0.0,
        grace_s: float = 20.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.phase = Phase.SERVING
        self.inflight = 0
        self._announce_s = announce_s
        self._grace_s = grace_s
        self._sleep = sleep
        self._idle = asyncio.Event()
        self._idle.set()
        self._told: set[Callable[[], None]] = set()

    @property
    def is_leaving(self) -> bool:
        """Whether readiness must say no."""
        return self.phase > Phase.SERVING

    @property
    def is_refusing(self) -> bool:
        """Whether newcomers are refused."""
        return self.phase > Phase.ANNOUNCED

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count one piece of work while the block runs."""
        self.inflight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.inflight -= 1
            if not self.inflight:
                self._idle.set()

    @contextmanager
    def told(self, cut: Callable[[], None]) -> Iterator[None]:
        """Call `cut` if the grace ends while the block runs."""
        self._told.add(cut)
        try:
            yield
        finally:
            self._told.discard(cut)

    async def leave(self) -> int:
        """Go all the way; return how many answers had to be cut. Call it once."""
        self.phase = Phase.ANNOUNCED
        if self._announce_s:
            await self._sleep(self._announce_s)
        self.phase = Phase.REFUSING
        if await self._is_idle_within(self._grace_s):
            return 0
        self.phase = Phase.CUT
        cut = len(self._told)
        for tell in tuple(self._told):
            tell()
        await self._is_idle_within(LAST_WORDS_S)
        return cut

    async def _is_idle_within(self, wait_s: float) -> bool:
        patience = asyncio.ensure_future(self._sleep(wait_s))
        idle = asyncio.ensure_future(self._idle.wait())
        try:
            await asyncio.wait({patience, idle}, return_when=asyncio.FIRST_COMPLETED)
            return idle.done()
        finally:
            for task in (patience, idle):
                task.cancel()
            await asyncio.gather(patience, idle, return_exceptions=True)
