"""Failover wait: calls that wait for an engine that died and may be replaced within their deadline.

A process that is restarted, a container that is moved, a model that is loaded again: seconds, for which a
caller with a deadline of a minute needs no error. Waited for is an engine that worked once and of which
nobody answers now, for at most `return_s` since it died. Each that waits holds a place in the queue, so that
as many wait as the queue takes. A call that names no deadline is told at once, as a stock client is.
"""

import asyncio
from collections.abc import Callable, Sequence

from fluido.errors import LimitReached, WaitTimeout
from fluido.llm._job import Job
from fluido.llm.admission import Health, Station


class Comeback:
    """Waits until it is known whether an engine is away, and for one that is."""

    def __init__(self, stations: Sequence[Station], *, return_s: float, clock: Callable[[], float]) -> None:
        self._stations = stations
        self._return_s = return_s
        self._clock = clock
        self.waiting = 0
        """How many wait for an engine that is away."""

    def is_up(self) -> bool:
        """Whether an engine answers."""
        return any(station.health.up for station in self._stations)

    def is_open(self, job: Job) -> bool:
        """Whether no engine is up and `job` would wait for one, so that nothing can be said of it yet."""
        return self._unsure() is not None or (not self.is_up() and self._until_s(job) > self._clock())

    async def wait(self, job: Job) -> bool:
        """Return whether an engine is up, after having waited for one as long as `job` may."""
        while not self.is_up():
            await self._till_sure(job)
            until_s = self._until_s(job)
            if self.is_up() or until_s <= self._clock():
                break
            await self._till_back(job, until_s)
        return self.is_up()

    async def _till_sure(self, job: Job) -> None:
        """Where all engines are down and one of them failed just now, wait until it was asked once more.

        A connection that was reset is not an engine that died, and a fifth of a second is no wait. One that
        came back and has to prove itself may load its model first: the caller's deadline bounds that.
        """
        deadline_s = job.call.deadline_s
        left_s = None if deadline_s is None else max(0.0, deadline_s - self._clock())
        try:
            async with asyncio.timeout(left_s):
                while (unsure := self._unsure()) is not None:
                    await unsure.looked()
        except TimeoutError as error:
            waited_s = self._clock() - job.came_s
            raise WaitTimeout(f"no engine within {waited_s:.1f} s", waited_s=waited_s) from error

    def _unsure(self) -> Health | None:
        """An engine of which it is not known yet whether it is away, where none is up."""
        if self.is_up():
            return None
        return next((station.health for station in self._stations if not station.health.is_sure), None)

    def _awaited(self) -> list[Station]:
        """The engines that worked, died, and may come back."""
        return [
            station for station in self._stations if station.facts is not None and station.health.may_return
        ]

    def _until_s(self, job: Job) -> float:
        """How long `job` waits for those, at most."""
        if not job.is_patient or job.call.deadline_s is None:
            return 0.0
        latest_s = max((station.health.down_s for station in self._awaited()), default=-self._return_s)
        return min(job.call.deadline_s, latest_s + self._return_s)

    async def _till_back(self, job: Job, until_s: float) -> None:
        """Hold a place in the queue and wait until one is back, or `until_s`."""
        awaited = self._awaited()
        if job.place is None or not job.place.is_held:
            queue = awaited[0].queue
            if not job.retries and not queue.takes(job.call.lane):
                raise LimitReached("no engine answers, and the queue is full", waiting=self.waiting)
            job.place = queue.reserve(0.0)
        began_s = self._clock()
        looks = {asyncio.ensure_future(station.health.back()) for station in awaited}
        self.waiting += 1
        try:
            await asyncio.wait(looks, timeout=until_s - began_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.waiting -= 1
            job.away_s += self._clock() - began_s
            for look in looks:
                look.cancel()
