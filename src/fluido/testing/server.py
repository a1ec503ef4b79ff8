"""A server as queueing theory sees it: jobs share its rate, and the rate depends on how many there are."""

import asyncio
import heapq
import math
from typing import Generic, TypeVar

from fluido.testing.curve import Curve

Job = TypeVar("Job")


class Station(Generic[Job]):
    """Processor sharing in virtual time: no clock of its own, the caller says when it is.

    Work is in mean jobs: a job of work 2 takes twice as long as the curve says. `factor` scales the rate:
    0 is a stall.
    """

    __slots__ = ("_attained", "_now_s", "_queue", "_serial", "curve", "factor", "jobs")

    def __init__(self, curve: Curve) -> None:
        self.curve = curve
        self.factor = 1.0
        self.jobs = 0
        self._attained = 0.0
        self._now_s = 0.0
        self._serial = 0
        # Everybody gets the same share, so who ends first does not change while they share: a heap of totals.
        self._queue: list[tuple[float, int, Job]] = []

    def advance(self, now_s: float) -> None:
        """Let the jobs have worked until `now_s`."""
        if self.jobs:
            self._attained += (now_s - self._now_s) * self.factor * self.curve(self.jobs) / self.jobs
        self._now_s = now_s

    def enter(self, now_s: float, job: Job, work: float) -> None:
        """Add a job."""
        self.advance(now_s)
        self._serial += 1
        heapq.heappush(self._queue, (self._attained + work, self._serial, job))
        self.jobs += 1

    def next_end_s(self) -> float:
        """When the next job would end if nothing changes; infinity for never."""
        if not self.jobs or self.factor <= 0:
            return math.inf
        left = max(0.0, self._queue[0][0] - self._attained)
        return self._now_s + left * self.jobs / (self.factor * self.curve(self.jobs))

    def leave(self, now_s: float) -> Job:
        """Take the job that ends at `now_s`."""
        self.advance(now_s)
        total, _, job = heapq.heappop(self._queue)
        # Rounding must not let the attained work fall short of what just ended.
        self._attained = max(self._attained, total)
        self.jobs -= 1
        return job

    def drop_all(self) -> list[Job]:
        """Lose every job: a server that restarts."""
        jobs = [job for _, _, job in self._queue]
        self._queue.clear()
        self.jobs = 0
        return jobs


class SimulatedServer:
    """A Station for asyncio code under a VirtualLoop: `await server.call(work)` takes as long as it would.

    `delay_s` is a pure delay on the way back. `stall()` stops all progress, `resume()` lets it go on;
    `fail_next(n, error)` makes the next n calls raise after their delay.
    """

    def __init__(self, curve: Curve, *, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.calls = 0
        self.most_inside = 0
        self._station: Station[asyncio.Future[None]] = Station(curve)
        self._timer: asyncio.TimerHandle | None = None
        self._failures: list[Exception] = []

    @property
    def inside(self) -> int:
        """Jobs in service. A cancelled caller's job goes on, as a query in a database does."""
        return self._station.jobs

    async def call(self, work: float = 1.0) -> None:
        """Do `work` mean jobs of work."""
        loop = asyncio.get_running_loop()
        self.calls += 1
        if self._failures:
            error = self._failures.pop()
            await asyncio.sleep(self.delay_s)
            raise error
        done = loop.create_future()
        self._station.enter(loop.time(), done, work)
        self.most_inside = max(self.most_inside, self._station.jobs)
        self._arm(loop)
        await done
        if self.delay_s > 0:
            await asyncio.sleep(self.delay_s)

    def stall(self) -> None:
        """Stop all progress."""
        self._set_factor(0.0)

    def resume(self, factor: float = 1.0) -> None:
        """Go on, at `factor` of the curve's rate."""
        self._set_factor(factor)

    def fail_next(self, count: int, error: Exception) -> None:
        """Let the next `count` calls raise `error`."""
        self._failures += [error] * count

    def _set_factor(self, factor: float) -> None:
        loop = asyncio.get_running_loop()
        self._station.advance(loop.time())
        self._station.factor = factor
        self._arm(loop)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due_s = self._station.next_end_s()
        self._timer = None if due_s == math.inf else loop.call_at(due_s, self._end_one, loop)

    def _end_one(self, loop: asyncio.AbstractEventLoop) -> None:
        done = self._station.leave(loop.time())
        if not done.done():
            done.set_result(None)
        self._arm(loop)
