"""A semaphore that can be resized, has a fractional limit, and hands its permits over in order."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from fluido.errors import Closed, LimitReached, WaitTimeout

# Weyl sequence: the fraction of a limit is dithered without a random generator, and evener than with one.
GOLDEN = 0.6180339887498949


class Waiter:
    """One caller in the queue. `turn` is done when it was granted, refused or cancelled."""

    __slots__ = ("label", "timer", "turn")

    def __init__(self, turn: "asyncio.Future[None]", label: str) -> None:
        self.turn = turn
        self.label = label
        self.timer: asyncio.TimerHandle | None = None


class Gate:
    """Admits at most `limit` callers; the others wait in order, at most `max_waiting` of them.

    A released permit goes straight to the longest waiter: a caller that comes back at once cannot overtake.
    A fractional limit lets the integer part in, and one more for that fraction of the completions. Raising
    the limit admits at once; lowering it takes effect as callers leave. Not thread-safe: one event loop.
    """

    kind = "gate"

    def __init__(
        self,
        limit: float,
        *,
        max_waiting: int,
        clock: Callable[[], float] = time.perf_counter,
        name: str = "",
    ) -> None:
        if max_waiting < 0:
            raise ValueError(f"max_waiting must not be negative, not {max_waiting}")
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
        self._queue: deque[Waiter] = deque()
        self._dither = 0.0
        self.limit = _checked(limit)
        self._threshold = math.floor(self.limit)

    def try_acquire(self) -> bool:
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
        if not self.try_acquire():
            await self._wait(label, deadline_s)

    def release(self) -> None:
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
        self._threshold = math.floor(self.limit)
        if self._threshold != self.limit:
            self._draw()
        if self.waiting:
            self._hand_over()

    def close(self) -> None:
        """Refuse newcomers and fail who waits with Closed; callers inside finish and release. Idempotent."""
        self.closed = True
        for waiter in self._drain_queue():
            self._leave(waiter)
            waiter.turn.set_exception(Closed("the gate was closed while waiting"))

    # -- the queue --

    async def _wait(self, label: str, deadline_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        joined_s = self._clock()
        self._check_may_wait(deadline_s, joined_s)
        waiter = Waiter(loop.create_future(), label)
        if deadline_s is not None:
            waiter.timer = loop.call_later(deadline_s - joined_s, self._expire, waiter, joined_s)
        self._enqueue(waiter)
        self.waiting += 1
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self.cancelled += 1
            if waiter.turn.cancelled():
                self._leave(waiter)
                self._forget()
                # A permit released between the cancellation and this line found no live waiter, and who came
                # after it queued behind us.
                self._hand_over()
            elif waiter.turn.exception() is None:
                # Granted and cancelled in the same tick: the permit is ours to pass on.
                self.release()
            raise

    def _check_may_wait(self, deadline_s: float | None, now_s: float) -> None:
        if self.closed:
            raise Closed("the gate is closed")
        if self.waiting >= self.max_waiting:
            self.refused += 1
            raise LimitReached(f"{self.waiting} callers wait already", waiting=self.waiting)
        if deadline_s is not None and not deadline_s > now_s:
            self.refused += 1
            raise LimitReached("the deadline has passed and there is a queue", waiting=self.waiting)

    def _grant(self, waiter: Waiter) -> None:
        self._leave(waiter)
        self.inflight += 1
        self.admitted += 1
        waiter.turn.set_result(None)

    def _leave(self, waiter: Waiter) -> None:
        self.waiting -= 1
        if waiter.timer is not None:
            waiter.timer.cancel()

    def _expire(self, waiter: Waiter, joined_s: float) -> None:
        if not waiter.turn.done():
            self.timed_out += 1
            self._leave(waiter)
            waited_s = self._clock() - joined_s
            waiter.turn.set_exception(WaitTimeout(f"waited {waited_s:.3f} s for a permit", waited_s=waited_s))
            self._forget()

    def _draw(self) -> None:
        self._dither = (self._dither + GOLDEN) % 1.0
        self._threshold = math.floor(self.limit + self._dither)

    # -- what a gate with lanes does otherwise --

    def _enqueue(self, waiter: Waiter) -> None:
        self._queue.append(waiter)

    def _hand_over(self) -> None:
        queue = self._queue
        while self.inflight < self._threshold and queue:
            waiter = queue.popleft()
            if not waiter.turn.done():
                self._grant(waiter)

    def _forget(self) -> None:
        """Drop who left the queue; done when they are the majority, so the cost per leaver is constant."""
        if len(self._queue) > 2 * self.waiting + 8:
            self._queue = deque(waiter for waiter in self._queue if not waiter.turn.done())

    def _drain_queue(self) -> list[Waiter]:
        waiters = [waiter for waiter in self._queue if not waiter.turn.done()]
        self._queue.clear()
        return waiters


def _checked(limit: float) -> float:
    if not math.isfinite(limit) or limit < 1:
        raise ValueError(f"a limit must be finite and at least 1, not {limit}")
    return float(limit)
