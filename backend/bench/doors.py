"""How the arms of a chat are reached, as they are or brought up anew: over HTTP, or engines alone."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol

from bench.experiments import histories
from bench.levers import Places
from bench.load import FailedError, RefusedError, Send
from bench.stage import Ground
from bench.workloads import Workload

WAKE_S = 60.0


class Doors(Protocol):
    """The way to ask each arm, by name."""

    def as_they_are(self) -> AbstractAsyncContextManager[Mapping[str, Send]]:
        """For what is not compared: a capacity."""

    def anew(self, population: str) -> AbstractAsyncContextManager[Mapping[str, Send]]:
        """Arms that have learned nothing, and people of that name who have talked to them before."""


class Processes:
    """Arms with a process each; servers and engines stay, and with them whatever they remember."""

    def __init__(self, stage: Ground, workload: Workload, arms: Sequence[str]) -> None:
        self._stage = stage
        self._workload = workload
        self._arms = arms

    @asynccontextmanager
    async def as_they_are(self) -> AsyncIterator[dict[str, Send]]:
        yield {arm: self._stage.contestants[arm].sender for arm in self._arms}

    @asynccontextmanager
    async def anew(self, population: str) -> AsyncIterator[dict[str, Send]]:
        """`ServerError` when one of them does not come up again."""
        known = histories(self._workload, population)
        ended = await asyncio.gather(*(self._renew(arm, known) for arm in self._arms), return_exceptions=True)
        # All of them end before the first error is raised, so that nothing starts behind our back.
        for error in ended:
            if isinstance(error, BaseException):
                raise error
        async with self.as_they_are() as ways:
            yield ways

    async def _renew(self, arm: str, known: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        await self._stage.restart(arm, {})
        if known:
            await self._stage.settle(arm, known)


class Engines:
    """Arms without a process: clients of this one, each with an engine of its own, which stays."""

    def __init__(self, places: Places, workload: Workload) -> None:
        self._places = places
        self._workload = workload

    def as_they_are(self) -> AbstractAsyncContextManager[Mapping[str, Send]]:
        return self._places.opened(histories(self._workload))

    def anew(self, population: str) -> AbstractAsyncContextManager[Mapping[str, Send]]:
        return self._places.opened(histories(self._workload, population))


async def wake(ways: Mapping[str, Send], workload: Workload) -> None:
    """One question to every arm: an Ollama loads its model with the first, which is no latency of an arm."""
    for name, send in ways.items():
        question = workload.sessions(1, seed=0, namespace=f"wake-{name}")[0].questions[0]
        with suppress(RefusedError, FailedError, TimeoutError):
            async with asyncio.timeout(WAKE_S):
                await send(question)
