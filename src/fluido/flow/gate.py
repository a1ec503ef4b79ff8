"""A semaphore that can be resized, has a fractional limit, and hands its permits over in order."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress

from fluido.errors import Closed, LimitReached, WaitTimeout
from fluido.flow.line import Line, Waiter

# Weyl sequence: the fraction of a limit is dithered without a random generator, and evener than with one.
GOLDEN = 0.6180339887498949
STANDING_S = 0.1  # CoDel's interval: a queue that was never empty for so long does not drain by itself


class Gate:
    """Admits at most `limit` callers; the others wait in order, at most `max_waiting` of them.

    A released permit goes straight to the longest waiter: a caller that comes back at once cannot overtake.
    A fractional limit lets the integer part in, and one more for that fraction of the completions. Raising
    the limit admits at once; lowering it takes effect as callers leave. Not thread-safe: one event loop.

    With `standing_share` below 1, who joins a queue that has not been empty for 100 ms waits at most that
    share of the time left to its deadline (CoDel, with timeouts instead of drops). See docs/laws.md for why
    1 is the default. Callers without a deadline wait as long as it takes, always.

    Labels matter to LanedGate only; there, release a permit under the label that took it.
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
    ) -> None:
        if max_waiting < 0 or not 0 < standing_share <= 1:
            raise ValueError(
                f"need max_waiting >= 0 and 0 < standing_share <= 1, not {max_waiting}, {standing_share}"
            )
        self.name = name
        self.max_waiting = max_waiting
        self.inflight = 0
        self.waiting = 0
        self.admitted = 0
        self.refused = 0
        self.timed_out = 0
        self.cancelled = 0
        self.closed = False
        self._clock = clock
        self._standing_share = standing_share
        self._standing_since_s = -math.inf
        self._line = Line()
        self._tickets = 0
        self._dither = 0.0
        self.limit = _checked(limit)
        self._threshold = math.floor(self.limit)

    def try_acquire(self, _label: str = "", /) -> bool:
        """Take a permit if one is free and nobody waits; the caller must `release()` it."""
        if self.inflight >= self._threshold or self.waiting or self.closed:
            return False
        self.inflight += 1
        self.admitted += 1
        return True

    async def acquire(self, *, label: str = "", deadline_s: float | None = None) -> None:
        """Wait for a permit, which `release()` must give back.

        `deadline_s` is a time on the gate's clock. Raises LimitReached at once when the queue is full or the
        deadline has passed, WaitTimeout when it passes in the queue, Closed when the gate is or gets closed.
        """
        if not self.try_acquire(label):
            await self._wait(label, deadline_s)

    def release(self, _label: str = "", /) -> None:
        """Give one permit back. Raises RuntimeError when none is out."""
        if self.inflight <= 0:
            raise RuntimeError("release() without acquire()")
        self.inflight -= 1
        if self._threshold != self.limit:
            self._draw()
        if self.waiting:
            self._hand_over()

    def resize(self, limit: float) -> None:
        """Put another limit in force (finite, at least 1, else ValueError)."""
        self.limit = _checked(limit)
        self._draw()
        if self.waiting:
            self._hand_over()

    def close(self) -> None:
        """Refuse newcomers and fail who waits with Closed; callers inside finish and release. Idempotent."""
        self.closed = True
        for line in self._lines():
            for waiter in line.everybody():
                waiter.turn.set_exception(
                    Closed(f"{self.name or 'the gate'} was closed while this call waited in its queue")
                )
                self._leave(waiter)

    def longest_wait(self) -> tuple[float, str]:
        """How long the one who waits longest has waited, in seconds, and its label; 0.0 when nobody does."""
        heads = [head for line in self._lines() if (head := line.head()) is not None]
        if not heads:
            return 0.0, ""
        first = min(heads, key=lambda waiter: waiter.ticket)
        return self._clock() - first.joined_s, first.label

    # -- the queue --

    async def _wait(self, label: str, deadline_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        joined_s = self._clock()
        self._check_may_wait(deadline_s, joined_s)
        if not self.waiting:
            self._standing_since_s = joined_s
        elif deadline_s is not None and joined_s - self._standing_since_s >= STANDING_S:
            deadline_s = joined_s + self._standing_share * (deadline_s - joined_s)
        self._tickets += 1
        waiter = Waiter(loop.create_future(), label, self._line_of(label), self._tickets, joined_s)
        if deadline_s is not None:
            waiter.timer = loop.call_later(deadline_s - joined_s, self._expire, waiter, joined_s)
        waiter.line.join(waiter)
        self.waiting += 1
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self.cancelled += 1
            if waiter.turn.cancelled():
                self._leave(waiter)
                # A permit released between the cancellation and this line found no live waiter, and who came
                # after it queued behind us.
                self._hand_over()
            elif waiter.turn.exception() is None:
                # Granted and cancelled in the same tick: the permit is ours to pass on.
                self.release(label)
            raise
        except GeneratorExit:
            # The loop was closed over us, and nobody will ever resume this.
            if not waiter.turn.done():
                self.cancelled += 1
                with suppress(RuntimeError):
                    waiter.turn.cancel()
                self._leave(waiter)
            elif not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self.release(label)
            raise

    def _check_may_wait(self, deadline_s: float | None, now_s: float) -> None:
        if self.closed:
            raise Closed(f"{self.name or 'the gate'} is closed: build another one")
        if self.waiting >= self.max_waiting:
            self.refused += 1
            said = f"{self.waiting} callers wait already for {self.name or 'the gate'}"
            raise LimitReached(f"{said} (max_waiting is {self.max_waiting})", waiting=self.waiting)
        if deadline_s is not None and not deadline_s > now_s:
            self.refused += 1
            raise LimitReached("the deadline has passed and there is a queue", waiting=self.waiting)

    def _grant(self, waiter: Waiter) -> None:
        waiter.turn.set_result(None)
        self._leave(waiter)
        self.inflight += 1
        self.admitted += 1

    def _leave(self, waiter: Waiter) -> None:
        self.waiting -= 1
        waiter.line.leave(waiter)

    def _expire(self, waiter: Waiter, joined_s: float) -> None:
        if not waiter.turn.done():
            self.timed_out += 1
            waited_s = self._clock() - joined_s
            said = f"waited {waited_s:.3f} s for a permit of {self.name or 'the gate'}"
            waiter.turn.set_exception(WaitTimeout(said, waited_s=waited_s))
            self._leave(waiter)
            self._hand_over()

    def _draw(self) -> None:
        """Say how many may be inside now: the whole part, and one more for that fraction of the draws."""
        self._threshold = whole = math.floor(self.limit)
        if whole != self.limit:
            self._dither = (self._dither + GOLDEN) % 1.0
            self._threshold = math.floor(self.limit + self._dither)

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
