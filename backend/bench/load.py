"""Drives one arm: open loop (users come whether or not it keeps up) and closed loop (a fixed crew).

Latency counts from the moment a request was *due*, so an arm that stalls cannot hide the requests that it
kept from being sent ("coordinated omission"). Sessions come in an open loop; inside a session a person asks
again only after the answer and some thought, as people do.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.samples import Outcome, Sample
from bench.workloads import Question, Session


class RefusedError(Exception):
    """The arm said no at once (429 or 503). Counted, never a latency."""


class FailedError(Exception):
    """The arm broke, hung or answered with an error. Counted, never a latency."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer. `first_at` is on the clock of the load, None where there is no first token."""

    first_at: float | None = None
    output_tokens: int = 0
    label: str = ""
    database_s: float | None = None
    cache_s: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0


Send = Callable[[Question], Awaitable[Reply]]
"""Asks one question; raises `RefusedError` or `FailedError`."""


class Load:
    """Runs requests against one arm and writes down what happened."""

    def __init__(
        self,
        send: Send,
        *,
        deadline_s: float = 60.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`deadline_s`: a request that is not answered by then is cancelled and counts as failed."""
        self._send = send
        self._deadline_s = deadline_s
        self._clock = clock
        self._sleep = sleep

    async def open_loop(self, sessions: Sequence[Session], offsets_s: Sequence[float]) -> list[Sample]:
        """Session i begins at `offsets_s[i]`. Returns all samples in order of their due time."""
        origin = self._clock()
        turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        samples: list[Sample] = []
        async with asyncio.TaskGroup() as users:
            for session, offset_s in zip(sessions, offsets_s, strict=True):
                users.create_task(self._visit(session, origin + offset_s, origin, turns, samples))
        return sorted(samples, key=lambda sample: sample.intended_s)

    async def closed_loop(
        self, sessions: Iterable[Session], *, crew: int, duration_s: float = float("inf")
    ) -> list[Sample]:
        """`crew` workers take the sessions in turn, without thought, until they end or time is up."""
        origin = self._clock()
        waiting = iter(sessions)
        samples: list[Sample] = []

        async def work() -> None:
            for session in waiting:
                for question in session.questions:
                    if self._clock() - origin >= duration_s:
                        return
                    samples.append(await self._ask(question, self._clock(), origin))

        async with asyncio.TaskGroup() as workers:
            for _ in range(crew):
                workers.create_task(work())
        return sorted(samples, key=lambda sample: sample.intended_s)

    async def _visit(
        self,
        session: Session,
        due: float,
        origin: float,
        turns: defaultdict[str, asyncio.Lock],
        samples: list[Sample],
    ) -> None:
        await self._until(due)
        for index, question in enumerate(session.questions):
            # One conversation has one question open at a time: a second waits, and its wait counts.
            async with turns[question.conversation]:
                sample = await self._ask(question, due, origin)
            samples.append(sample)
            if index < len(session.think_s):
                due = self._clock() + session.think_s[index]
                await self._until(due)

    async def _until(self, due: float) -> None:
        wait_s = due - self._clock()
        if wait_s > 0:
            await self._sleep(wait_s)

    async def _ask(self, question: Question, due: float, origin: float) -> Sample:
        started = self._clock()
        reply, label = Reply(), ""
        try:
            async with asyncio.timeout(self._deadline_s):
                reply = await self._send(question)
            outcome = Outcome.ANSWERED
            label = reply.label
        except RefusedError as error:
            outcome, label = Outcome.REFUSED, str(error)
        except FailedError as error:
            outcome, label = Outcome.FAILED, str(error)
        except TimeoutError:
            outcome, label = Outcome.FAILED, f"no answer within {self._deadline_s:g} s"
        return Sample(
            intended_s=due - origin,
            started_s=started - origin,
            finished_s=self._clock() - origin,
            outcome=outcome,
            first_s=None if reply.first_at is None else reply.first_at - origin,
            output_tokens=reply.output_tokens,
            label=label,
            database_s=reply.database_s,
            cache_s=reply.cache_s,
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
        )
