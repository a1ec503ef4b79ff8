"""Looks after a pool between calls: keeps some connections, closes others, names who holds one too long."""

import asyncio
import logging
import threading
import weakref
from typing import TYPE_CHECKING

from sqlalchemy.util import greenlet_spawn

if TYPE_CHECKING:
    from fluido.sqlalchemy.pool import AdaptivePool

SWEEP_S = 1.0
# A permit is held too long after ten times the usual service time, and not before it hurts anybody.
HELD_FACTOR = 10.0
HELD_FLOOR_S = 2.0

_logger = logging.getLogger("fluido.sqlalchemy")


class Keeper:
    """One timer a pool, set by the first checkout, gone when nothing is left to look after."""

    def __init__(self, pool: "AdaptivePool") -> None:
        # The timer must not keep a forgotten pool alive.
        self._pool = weakref.ref(pool)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def arm(self) -> None:
        """Set the timer if it is not set on this loop; without a running loop there is nothing to do."""
        loop = asyncio._get_running_loop()
        if loop is not None and (self._timer is None or loop is not self._loop):
            self._loop = loop
            self._thread = threading.get_ident()
            self._timer = loop.call_later(SWEEP_S, self.sweep)

    @property
    def armed(self) -> bool:
        """Whether the timer is set."""
        return self._timer is not None

    def disarm(self) -> None:
        """Stop looking after the pool until the next checkout."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def foreign_loop(self, thread: int) -> asyncio.AbstractEventLoop | None:
        """The pool's loop when it runs in another thread than `thread`, else None."""
        return self._loop if self._thread not in {0, thread} and self._timer is not None else None

    def sweep(self) -> None:
        """Look once: report, close or open at most one connection, and come back if something is left."""
        self.disarm()
        pool = self._pool()
        if pool is None:
            return
        now_s = pool.limiter.clock()
        pool.limiter.learn_time(now_s)
        self._report(pool, now_s)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._tend(pool))
        if pool.checkedin() or pool.holds:
            self.arm()

    async def _tend(self, pool: "AdaptivePool") -> None:
        try:
            retired = pool.retire()
            if retired is not None:
                await greenlet_spawn(retired.close)
            else:
                await greenlet_spawn(pool.warm)
        except Exception as error:  # noqa: BLE001  (nobody waits for this; the next caller meets the same server)
            pool.logger.info("Could not look after %s: %s", pool.limiter.name, error)

    @staticmethod
    def _report(pool: "AdaptivePool", now_s: float) -> None:
        """Name, once, whoever keeps a connection while the database has nothing to do for him."""
        overdue = [
            hold for hold in pool.holds.values() if not hold.reported and hold.idle_s(now_s) > HELD_FLOOR_S
        ]
        if not overdue:
            return
        tolerated_s = HELD_FACTOR * pool.limiter.stats().service_ms_p50 / 1e3
        for hold in overdue:
            if hold.idle_s(now_s) > tolerated_s and not hold.in_driver():
                hold.reported = True
                _logger.warning(
                    "A connection of %s is held for %.1f s, idle for %.1f s of them (label %r), at %s",
                    pool.limiter.name,
                    now_s - hold.taken_s,
                    hold.idle_s(now_s),
                    hold.label,
                    hold.place(),
                )
