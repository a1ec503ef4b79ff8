"""Drives one arm: people with time to read, and a crew without thought.

Latency counts from the moment a person *may* ask: the pause after the last answer is over. Nobody asks twice
before an answer has come, so no request waits for another of the same person.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.samples import Outcome, Sample
from bench.workloads import Question, Script


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
    text: str = ""


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

    async def people(self, scripts: Sequence[Script], *, until_s: float, from_s: float = 0.0) -> list[Sample]:
        """Everybody lives by their script until nobody may ask any more; then the last answers are awaited.

        Returns what was asked from `from_s` on, its seconds counted from there, in order of the due times.
        """
        origin = self._clock()
        samples: list[Sample] = []
        async with asyncio.TaskGroup() as everybody:
            for script in scripts:
                if script.first_s < until_s:
                    everybody.create_task(self._live(script, origin, until_s, samples))
        counted = [_later(sample, from_s) for sample in samples if sample.intended_s >= from_s]
        return sorted(counted, key=lambda sample: sample.intended_s)

    async def crew(
        self, questions: Iterator[Question], *, size: int, duration_s: float, least: int = 0
    ) -> list[Sample]:
        """`size` workers take the questions in turn, without thought, until time is up.

        Where fewer than `least` were asked to the end by then, it goes on for up to three times as long. A
        question whose person still waits for an answer is left until the answer has come. What is open at
        the end is cancelled and not returned.
        """
        origin = self._clock()
        waiting: set[str] = set()
        postponed: deque[Question] = deque()
        is_over = False
        samples: list[Sample] = []

        def following() -> Question | None:
            for _ in range(len(postponed)):
                if (old := postponed.popleft()).user_id not in waiting:
                    return old
                postponed.append(old)
            for _ in range(10 * size):
                question = next(questions, None)
                if question is None or question.user_id not in waiting:
                    return question
                postponed.append(question)
            return None

        async def work() -> None:
            # A driver may swallow one cancellation: then this ends with the request that it had.
            while not is_over and (question := following()) is not None:
                waiting.add(question.user_id)
                samples.append(await self._ask(question, self._clock(), origin))
                waiting.discard(question.user_id)

        workers = [asyncio.create_task(work()) for _ in range(size)]
        try:
            for _ in range(3):
                _, working = await asyncio.wait(workers, timeout=duration_s)
                if not working or len(samples) >= least:
                    break
        finally:
            is_over = True
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return sorted(samples, key=lambda sample: sample.intended_s)

    async def closed_loop(
        self, questions: Iterable[Question], *, crew: int, duration_s: float = float("inf")
    ) -> list[Sample]:
        """`crew` callers take turns without thought until they end or time is up; begun ones are finished."""
        origin = self._clock()
        waiting = iter(questions)
        samples: list[Sample] = []

        async def work() -> None:
            for question in waiting:
                if self._clock() - origin >= duration_s:
                    return
                samples.append(await self._ask(question, self._clock(), origin))

        async with asyncio.TaskGroup() as workers:
            for _ in range(crew):
                workers.create_task(work())
        return sorted(samples, key=lambda sample: sample.intended_s)

    async def _live(self, script: Script, origin: float, until_s: float, samples: list[Sample]) -> None:
        due = origin + script.first_s
        for step in script.steps:
            if due - origin >= until_s:
                return
            wait_s = due - self._clock()
            if wait_s > 0:
                await self._sleep(wait_s)
            samples.append(await self._ask(step.question, due, origin))
            due = self._clock() + step.pause_s

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
            user=question.user_id,
            turn=question.turn,
        )


def _later(sample: Sample, from_s: float) -> Sample:
    """The same, its seconds counted from `from_s`."""
    return Sample(
        sample.intended_s - from_s,
        sample.started_s - from_s,
        sample.finished_s - from_s,
        sample.outcome,
        None if sample.first_s is None else sample.first_s - from_s,
        sample.output_tokens,
        sample.label,
        sample.database_s,
        sample.cache_s,
        sample.prompt_tokens,
        sample.cached_tokens,
        sample.user,
        sample.turn,
    )
