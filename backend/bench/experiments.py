"""What is compared: an arm's block of requests for each workload, over HTTP."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.arrivals import PATTERNS
from bench.load import Load, Reply, Send
from bench.traces import Trace, load_trace
from bench.trial import Taken
from bench.workloads import (
    Lengths,
    NewConversations,
    Question,
    ReturningUsers,
    Session,
    SingleQuestions,
    Workload,
    compose,
    questions,
)

POPULATION = "bench"
HISTORY_EXCHANGES = 4
CREW = 8
ENOUGH = 24
"""Answers from which a capacity can be told."""
SLOW, VERY_SLOW = 3, 9
"""How many times as long as planned a capacity may take to measure."""


def standard_workloads(trace: Trace | None = None) -> dict[str, Workload]:
    """The three workloads by name; lengths from the conversation trace."""
    lengths = Lengths(trace or load_trace())
    found: list[Workload] = [ReturningUsers(lengths), NewConversations(lengths), SingleQuestions(lengths)]
    return {workload.name: workload for workload in found}


def histories(workload: Workload, population: str = POPULATION) -> dict[str, list[tuple[str, str]]]:
    """What returning users said before, by conversation; the same for every arm. Empty for the others.

    Each `population` is other people with the same past.
    """
    if not isinstance(workload, ReturningUsers):
        return {}
    source = random.Random("histories")
    found = {}
    for person in range(workload.users):
        exchanges = []
        for _ in range(HISTORY_EXCHANGES):
            question, output = workload.lengths.draw(source)
            exchanges.append((compose(question, source), compose(output, source)))
        found[f"{population}-user-{person}"] = exchanges
    return found


@dataclass(frozen=True, slots=True)
class Offer:
    """How much is offered in one block: requests a second, seconds, and the pattern of arrivals.

    A request without an answer after `deadline_s` is cancelled and counts as failed. `population`: who asks.
    """

    rate_per_s: float
    block_s: float
    pattern: str = "trace"
    deadline_s: float = 60.0
    population: str = POPULATION


class ChatArm:
    """One arm under one workload: a block is an open loop of about `offer.block_s` seconds."""

    def __init__(self, name: str, send: Send, workload: Workload, offer: Offer, trace: Trace) -> None:
        self.name = name
        self.send = send
        self._load = Load(send, deadline_s=offer.deadline_s)
        self._workload = workload
        self._offer = offer
        self._trace = trace

    async def run(self, seed: int) -> Taken:
        """The same seed gives the same sessions at the same times, whatever the arm."""
        visits = self._sessions(seed)
        per_session = questions(visits) / len(visits)
        arrivals = PATTERNS[self._offer.pattern](self._offer.rate_per_s / per_session, self._trace)
        offsets_s = arrivals.offsets_s(len(visits), seed=seed)
        return Taken(await self._load.open_loop(visits, offsets_s))

    def _sessions(self, seed: int) -> list[Session]:
        one = self._workload.sessions(1, seed=seed, namespace=self._offer.population)
        wanted = self._offer.rate_per_s * self._offer.block_s
        count = max(1, round(wanted / questions(one)))
        return self._workload.sessions(
            count, seed=seed, namespace=_namespace(self._workload, seed, self._offer.population)
        )


def warming(workload: Workload, offer: Offer) -> tuple[Workload, Offer]:
    """What an arm is warmed up with: the same for `offer.block_s` seconds, without time to read.

    Longer, up to four times, until every returning user has been there once: then the engine knows them all.
    """
    if isinstance(workload, NewConversations):
        workload = replace(workload, turns=1)
    if isinstance(workload, ReturningUsers) and offer.rate_per_s > 0:
        once_s = min(4 * offer.block_s, workload.users / offer.rate_per_s)
        offer = replace(offer, block_s=max(offer.block_s, once_s))
    return workload, offer


async def capacity_per_s(
    send: Send,
    workload: Workload,
    *,
    duration_s: float,
    seed: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Requests a second that an arm completes for eight users who never think: its capacity.

    The first third fills caches and queues and is not counted. A slow machine gets `SLOW` times as long to
    answer `ENOUGH` requests, and up to `VERY_SLOW` times until any answer counts; then what is still open is
    cancelled. 0.0 when nothing was answered.
    """
    finished_s: list[float] = []
    began = clock()

    async def watched(question: Question) -> Reply:
        reply = await send(question)
        finished_s.append(clock() - began)
        return reply

    sessions = workload.sessions(5000, seed=seed, namespace=_namespace(workload, seed))
    crew = asyncio.ensure_future(Load(watched, clock=clock).closed_loop(sessions, crew=CREW))
    try:
        for turn in range(VERY_SLOW):
            await asyncio.wait({crew}, timeout=duration_s)
            has_some = turn + 1 >= SLOW and rate_after(finished_s, (clock() - began) / 3) > 0
            if crew.done() or len(finished_s) >= ENOUGH or has_some:
                break
    finally:
        crew.cancel()
        await asyncio.gather(crew, return_exceptions=True)
    return rate_after(finished_s, (clock() - began) / 3)


def rate_after(finished_s: Sequence[float], from_s: float) -> float:
    """Answers a second from `from_s` to the last answer."""
    counted = [at for at in finished_s if at > from_s]
    return len(counted) / (counted[-1] - from_s) if counted else 0.0


def _namespace(workload: Workload, seed: int, population: str = POPULATION) -> str:
    """Returning users are one population; the others are new people in every block."""
    return population if isinstance(workload, ReturningUsers) else f"{population}-{seed}"
