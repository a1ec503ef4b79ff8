"""Pool housekeeping: keeps some connections, closes others, names who holds one too long."""

import asyncio
import logging
import threading
import weakref

from sqlalchemy.util import greenlet_spawn

from fluido.sqlalchemy._hold import Hold, HoldingPool

SWEEP_S = 1.0
# A permit is held too long after ten times the usual service time, and not before it hurts anybody.
HELD_FACTOR = 10.0
HELD_FLOOR_S = 2.0

_logger = logging.getLogger("fluido.sqlalchemy")


class Keeper:
    """One timer a pool, set by the first checkout, gone when nothing is left to look after."""

    def __init__(self, pool: HoldingPool) -> None:
        # The timer must not keep a forgotten pool alive.
        self._pool = weakref.ref(pool)
        # The loop that the timer is set on, and the thread it runs in.
        self.armed_loop: asyncio.AbstractEventLoop | None = None
        self.thread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        # Where the holders stood who were found idle by the last sweep.
        self._suspects: dict[tuple[Hold, float], str] = {}

    def arm(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Set the timer if it is not set on this loop; without a running loop there is nothing to do."""
        if loop is not None and loop is not self.armed_loop:
            if self.armed_loop is not None and self.armed_loop.is_closed():
                self._task = None  # it ended with its loop
            self.armed_loop = loop
            self.thread = threading.get_ident()
            self._timer = loop.call_later(SWEEP_S, self.sweep)

    def loop_elsewhere(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the pool's callers, if it runs in another thread."""
        loop = self.armed_loop
        if loop is None or threading.get_ident() == self.thread or not loop.is_running():
            return None
        return loop

    @property
    def armed(self) -> bool:
        """Whether the timer is set."""
        return self.armed_loop is not None

    def disarm(self) -> None:
        """Stop looking after the pool until the next checkout."""
        self.armed_loop = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
            self.arm(asyncio.get_running_loop())

    async def _tend(self, pool: HoldingPool) -> None:
        try:
            retired = pool.retire()
            if retired is not None:
                await greenlet_spawn(retired.close)
            else:
                await greenlet_spawn(pool.warm)
        except Exception as error:  # noqa: BLE001  (nobody waits for this; the next caller meets the same server)
            pool.logger.info("Could not look after %s: %s", pool.limiter.name, error)

    def _report(self, pool: HoldingPool, now_s: float) -> None:
        """Name, once, whoever keeps a connection while the database has nothing to do for him.

        One look may find a reader between two rows: who is named stood at the same place in two sweeps.
        """
        before, self._suspects = self._suspects, {}
        overdue = [
            hold for hold in pool.holds.values() if not hold.reported and hold.idle_s(now_s) > HELD_FLOOR_S
        ]
        if not overdue:
            return
        tolerated_s = HELD_FACTOR * pool.limiter.stats().service_ms_p50 / 1e3
        for hold in overdue:
            if hold.idle_s(now_s) <= tolerated_s or hold.in_driver():
                continue
            suspect, place = (hold, hold.taken_s), hold.place()
            self._suspects[suspect] = place
            if before.get(suspect) == place:
                hold.reported = True
                _logger.warning(
                    "A connection of %s is held for %.1f s, idle for %.1f s of them (label %r), at %s",
                    pool.limiter.name,
                    now_s - hold.taken_s,
                    hold.idle_s(now_s),
                    hold.label,
                    place,
                )
