"""Failover wait: calls that wait for an engine that is away and may be back before they have to be told.

A server that is restarted, a container that is moved, a machine whose gateway is up before its Ollama: some
seconds, for which nobody needs an error. Waited for is an engine that nobody answers for, for at most
`return_s` since it went away: by a call with a deadline of its own until then, by any other for its
`away_s`. One that answers something else (a locked door, a page for people) is told at once.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fluido.errors import LimitReached
from fluido.gateway._discovery import Directory
from fluido.gateway._flow import MOST_OF_ONE, Flow, Wanted, take


class Comeback:
    """Those who wait for an engine that is away: as many as a queue takes, of one client as many as there."""

    def __init__(
        self,
        directory: Directory,
        *,
        return_s: float,
        max_waiting: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._directory = directory
        self._return_s = return_s
        self._max_waiting = max_waiting
        self._clock = clock
        self._waiting_of: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting_of.total()

    async def found(self, wanted: Wanted, began_s: float) -> bool:
        """Nobody is known to have the model: whether an engine came that was not seen before."""
        unseen = [engine for engine in self._directory.engines if engine.may_return and not engine.kind]
        if not unseen:
            return False
        away_s = min(self._directory.away_s(engine) for engine in unseen)
        return await self._till([self._directory.till_one_is_up(unseen)], wanted, began_s, away_s)

    async def back(self, flows: Sequence[Flow], wanted: Wanted, began_s: float) -> bool:
        """None of these answers: whether one is back."""
        asleep = [flow.where for flow in flows if flow.health.up and not flow.is_ready]
        dead = [flow for flow in flows if flow.health.may_return and _was_there(flow)]
        if not (asleep or dead):
            return False
        ages_s = [self._directory.away_s(engine) for engine in asleep]
        ages_s += [self._clock() - flow.health.down_s for flow in dead]
        signs: list[Coroutine[Any, Any, object]] = [flow.health.back() for flow in dead]
        if asleep:
            signs.append(self._directory.till_one_is_up(asleep))
        return await self._till(signs, wanted, began_s, min(ages_s))

    async def _till(
        self, signs: Sequence[Coroutine[Any, Any, object]], wanted: Wanted, began_s: float, away_s: float
    ) -> bool:
        """Wait for the first of `signs`; False where the call may not wait for it any longer."""
        deadline_s = math.inf if wanted.deadline_s is None else wanted.deadline_s
        now_s, looks = self._clock(), {asyncio.ensure_future(sign) for sign in signs}
        until_s = min(deadline_s, began_s + wanted.away_s, now_s + self._return_s - away_s)
        try:
            if until_s <= now_s:
                return False
            with self._place(wanted.client):
                done, _ = await asyncio.wait(
                    looks, timeout=until_s - now_s, return_when=asyncio.FIRST_COMPLETED
                )
            return bool(done)
        finally:
            for look in looks:
                look.cancel()

    @contextmanager
    def _place(self, client: str) -> Iterator[None]:
        most = self._max_waiting
        if self.waiting >= most or self._waiting_of[client] >= MOST_OF_ONE * most:
            raise LimitReached("no engine answers, and the queue is full", waiting=self.waiting)
        self._waiting_of[client] += 1
        try:
            yield
        finally:
            take(self._waiting_of, client)


def _was_there(flow: Flow) -> bool:
    """Whether an engine is away, and what listens there is not something else than an engine."""
    return flow.facts is not None or flow.where.is_up or flow.where.may_return
