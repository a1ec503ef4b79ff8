"""Resizable semaphore (bulkhead) with a fractional limit, which hands its permits over in order."""

import asyncio
import math
import time
from collections.abc import Callable

from fluido._metrics import Meter
from fluido.errors import Closed, LimitReached
from fluido.flow._waiting import ByArrival, Waiter, WaitQueue

# Weyl sequence: the fraction of a limit is dithered without a random generator, and evener than with one.
GOLDEN = 0.6180339887498949
STANDING_S = 0.1  # CoDel's interval: a queue that was never empty for so long does not drain by itself

Line = ByArrival[None, None]
Caller = Waiter[None, None]


class Gate:
    """Semaphore (bulkhead): admits at most `limit` callers; at most `max_waiting` others wait, in order.

    A released permit goes straight to the longest waiter: a caller that comes back at once cannot overtake.
    A fractional limit lets the integer part in, and one more for that fraction of the completions. Raising
    the limit admits at once; lowering it takes effect as callers leave. Not thread-safe: one event loop.

    With `standing_share` below 1, who joins a queue that has not been empty for 100 ms waits at most that
    share of the time left to its deadline (CoDel, with timeouts instead of drops). See docs/laws.md for why
    1 is the default. Callers without a deadline wait as long as it takes, always.

    Labels matter to LanedGate only; there, release a permit under the label that took it. A flow that has a
    `meter` hands it in: who waits, is admitted, refused or gone is counted there.
    """

    kind = "gate"

    def __init__(
        self,
        limit: float,
        *,
        max_waiting: int,
        clock: Callable[[], float] = time.perf_counter,
        name: str = "",
        standing_share: float = 1.0,
        meter: Meter | None = None,
    ) -> None:
        if max_waiting < 0 or not 0 < standing_share <= 1:
            raise ValueError(
                f"need max_waiting >= 0 and 0 < standing_share <= 1, not {max_waiting}, {standing_share}"
            )
        self.name = name
        self.max_waiting = max_waiting
        self.meter = meter or Meter(name, self.kind)
        self.inflight = 0
        self.closed = False
        self._clock = clock
        self._standing_share = standing_share
        self._standing_since_s = -math.inf
        self._line = Line()
        self.queue: WaitQueue[None, None] = WaitQueue(
            f"a permit of {name or 'the gate'}",
            self.meter,
            clock,
            give_back=self._give_back,
            hand_over=self._hand_over,
        )
        self._dither = 0.0
        self.paused = False  # whether nobody is let in now
        self._paused_until_s = -math.inf
        self._resume: asyncio.TimerHandle | None = None
        self._resume_loop: asyncio.AbstractEventLoop | None = None
        self.limit = _checked(limit)
        self._threshold = math.floor(self.limit)

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return self.queue.waiting

    @property
    def admitted(self) -> int:
        """How many callers got a permit, at once or later."""
        return self.meter.admitted

    @property
    def refused(self) -> int:
        """How many were refused at once."""
        return self.meter.refused

    @property
    def timed_out(self) -> int:
        """How many waited in vain until their deadline."""
        return self.meter.timed_out

    @property
    def cancelled(self) -> int:
        """How many were cancelled while they waited."""
        return self.meter.cancelled

    def try_acquire(self, _label: str = "", /) -> bool:
        """Take a permit if one is free and nobody waits; the caller must `release()` it."""
        if self.inflight >= self._threshold or self.queue.waiting:
            return False
        self.inflight += 1
        self.meter.admitted += 1
        return True

    async def acquire(self, *, label: str = "", deadline_s: float | None = None) -> None:
        """Wait for a permit, which `release()` must give back.

        `deadline_s` is a time on the gate's clock. Raises LimitReached at once when the queue is full or the
        deadline has passed, WaitTimeout when it passes in the queue, Closed when the gate is or gets closed.
        """
        if not self.try_acquire(label):
            now_s = self._clock()
            if self.paused and self._pause_has_ended(now_s) and self.try_acquire(label):
                return
            self._check_may_wait(deadline_s, now_s)
            if not self.queue.waiting:
                self._standing_since_s = now_s
            elif deadline_s is not None and now_s - self._standing_since_s >= STANDING_S:
                deadline_s = now_s + self._standing_share * (deadline_s - now_s)
            if self.paused:
                self._arm_resume()
            await self.queue.wait(self._line_of(label), None, label=label, deadline_s=deadline_s)

    def release(self, _label: str = "", /) -> None:
        """Give one permit back. Raises RuntimeError when none is out."""
        if self.inflight <= 0:
            raise RuntimeError("release() without acquire()")
        self.inflight -= 1
        if self._threshold != self.limit:
            self._draw()
        if self.queue.waiting:
            self._hand_over()

    def resize(self, limit: float) -> None:
        """Put another limit in force (finite, at least 1, else ValueError)."""
        self.limit = _checked(limit)
        self._draw()
        if self.queue.waiting:
            self._hand_over()

    def pause(self, until_s: float) -> bool:
        """Admit nobody before `until_s`, on the gate's clock; those inside go on. Whether it is news."""
        if not max(self._paused_until_s, self._clock()) < until_s < math.inf:
            return False
        self.paused = True
        self._paused_until_s = until_s
        self._threshold = 0
        if self.queue.waiting:
            self._arm_resume()
        return True

    def paused_s(self, now_s: float) -> float:
        """For how many more seconds nobody is let in."""
        return max(0.0, self._paused_until_s - now_s) if self.paused else 0.0

    def close(self) -> None:
        """Refuse newcomers and fail who waits with Closed; callers inside finish and release. Idempotent."""
        self.closed = True
        self._draw()
        said = f"{self.name or 'the gate'} was closed while this call waited in its queue"
        for line in self._lines():
            for waiter in line.everybody():
                self.queue.refuse(waiter, Closed(said))

    def longest_wait(self) -> tuple[float, str]:
        """How long the one who waits longest has waited, in seconds, and its label; 0.0 when nobody does."""
        heads = [head for line in self._lines() if (head := line.head()) is not None]
        if not heads:
            return 0.0, ""
        first = min(heads, key=lambda waiter: waiter.serial)
        return self._clock() - first.joined_s, first.label

    def refuse(self, error: LimitReached) -> LimitReached:
        """Count a caller that is refused at once, and return the error to raise."""
        self.meter.refused += 1
        return error

    # -- the queue --

    def _check_may_wait(self, deadline_s: float | None, now_s: float) -> None:
        if self.closed:
            raise Closed(f"{self.name or 'the gate'} is closed: build another one")
        waiting = self.queue.waiting
        if waiting >= self.max_waiting:
            said = f"{waiting} callers wait already for {self.name or 'the gate'}"
            raise self.refuse(LimitReached(f"{said} (max_waiting is {self.max_waiting})", waiting=waiting))
        if deadline_s is not None and not deadline_s > now_s:
            raise self.refuse(LimitReached("the deadline has passed and there is a queue", waiting=waiting))

    def _grant(self, waiter: Caller) -> None:
        self.queue.grant(waiter, None)
        self.inflight += 1
        self.meter.admitted += 1

    def _give_back(self, waiter: Caller) -> None:
        self.release(waiter.label)

    def _draw(self) -> None:
        """Say how many may be inside now: the whole part, and one more for that fraction of the draws."""
        self._threshold = whole = math.floor(self.limit)
        if whole != self.limit:
            self._dither = (self._dither + GOLDEN) % 1.0
            self._threshold = math.floor(self.limit + self._dither)
        if self.paused or self.closed:
            self._threshold = 0

    def _pause_has_ended(self, now_s: float) -> bool:
        """Whether it ended just now, without a caller that waited for it."""
        ended = self.paused and now_s >= self._paused_until_s
        if ended:
            self._end_pause()
        return ended

    def _arm_resume(self) -> None:
        loop = asyncio.get_running_loop()
        if self._resume is None or self._resume_loop is not loop:
            self._resume_loop = loop
            self._resume = loop.call_later(self.paused_s(self._clock()), self._end_pause)

    def _end_pause(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
        self._resume = None
        if self.paused_s(self._clock()) > 0.0:
            self._arm_resume()  # it was made longer meanwhile
            return
        self.paused = False
        self._draw()
        self._hand_over()

    # -- what a gate with lanes does otherwise --

    def _lines(self) -> tuple[Line, ...]:
        return (self._line,)

    def _line_of(self, _label: str, /) -> Line:
        return self._line

    def _hand_over(self) -> None:
        while self.inflight < self._threshold:
            waiter = self._line.head()
            if waiter is None:
                return
            self._grant(waiter)


def _checked(limit: float) -> float:
    if not math.isfinite(limit) or limit < 1:
        raise ValueError(f"a limit must be finite and at least 1, not {limit}")
    return float(limit)
