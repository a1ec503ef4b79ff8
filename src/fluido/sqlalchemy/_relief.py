"""Looks after a pool while callers wait: grows it, lends the permits of idle holders, ends a standstill."""

import asyncio
import weakref

from fluido.flow._standing import look
from fluido.laws._standstill import Standstill
from fluido.sqlalchemy._hold import Hold, HoldingPool
from fluido.sqlalchemy._statements import says_capacity

# A holder that asked nothing for so long has a reason of its own. It can be as short as this because a task
# that only computes between its statements is never seen idle: it keeps the loop.
GRACE_S = 0.002
# Nothing can be lent where the limit is the maximum; only a standstill of the brake is to be seen.
SELDOM_S = 0.1


class Relief:
    """One timer a pool, set by the first caller that waits, gone when nobody does.

    The limit bounds calls that are at the server. A holder that is idle while somebody waits lends its
    permit: it counts against the maximum only, and counts again with its next statement. That never waits,
    so the limit may be exceeded for a moment, and nobody can stand for a permit that a sleeper has.
    """

    def __init__(self, pool: HoldingPool) -> None:
        # The timer must not keep a forgotten pool alive.
        self._pool = weakref.ref(pool)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._standstill = Standstill()

    def arm(self) -> None:
        """Look now, and from time to time as long as somebody waits on this loop."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._timer is None:
            self.disarm()
            self._loop = loop
            self._look(someone=True)

    def disarm(self) -> None:
        """Stop until somebody waits again."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        self._standstill.rest()

    def _look(self, *, someone: bool) -> None:
        self._timer = None
        pool, loop = self._pool(), self._loop
        if pool is None or loop is None:
            return
        gate = pool.gate
        now_s = pool.limiter.clock()
        while gate.waiting and gate.grow():
            pass
        if pool.observed and gate.limit < gate.most:
            self._lend(pool, now_s)
        self._end_standstill(pool, now_s)
        pause_s = GRACE_S if someone and gate.limit < gate.most else SELDOM_S
        self._timer = loop.call_later(pause_s, self._look_again)

    def _look_again(self) -> None:
        pool = self._pool()
        if pool is not None and (pool.gate.waiting or self._standstill.value > 1.0):
            self._look(someone=pool.gate.waiting > 0)
        else:
            self.disarm()

    @staticmethod
    def _lend(pool: HoldingPool, now_s: float) -> None:
        for hold in list(pool.holds.values()):
            if not hold.lent and _is_idle(hold, now_s):
                hold.lent = True
                pool.gate.lend(hold.label)

    def _end_standstill(self, pool: HoldingPool, now_s: float) -> None:
        gate = pool.gate
        # A connection that is being opened is about to move somebody.
        room = gate.limit < gate.most and gate.inflight >= int(gate.limit) and not gate.opening
        look(pool.limiter, self._standstill, now_s, room=room)


def _is_idle(hold: Hold, now_s: float) -> bool:
    """Whether the server has nothing to do for this holder, or only lets it wait for another client."""
    if hold.working_since_s is not None:
        return now_s - hold.working_since_s >= GRACE_S and not says_capacity(hold.statement)
    if now_s - hold.idle_since_s < GRACE_S:
        return False
    if hold.at_server():
        hold.idle_since_s = now_s
        return False
    return True
