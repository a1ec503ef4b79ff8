"""What is compared: an arm's block of requests for each workload, over HTTP."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.arrivals import PATTERNS
from bench.load import Load, Send
from bench.samples import Outcome, Sample
from bench.traces import Trace, load_trace
from bench.workloads import (
    Lengths,
    NewConversations,
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
DEADLINE_S = 60.0


def standard_workloads(trace: Trace | None = None) -> dict[str, Workload]:
    """The three workloads by name; lengths from the conversation trace."""
    lengths = Lengths(trace or load_trace())
    found: list[Workload] = [ReturningUsers(lengths), NewConversations(lengths), SingleQuestions(lengths)]
    return {workload.name: workload for workload in found}


def histories(workload: Workload) -> dict[str, list[tuple[str, str]]]:
    """What returning users said before, by conversation; the same for every arm. Empty for the others."""
    if not isinstance(workload, ReturningUsers):
        return {}
    source = random.Random("histories")
    found = {}
    for person in range(workload.users):
        exchanges = []
        for _ in range(HISTORY_EXCHANGES):
            question, output = workload.lengths.draw(source)
            exchanges.append((compose(question, source), compose(output, source)))
        found[f"{POPULATION}-user-{person}"] = exchanges
    return found


@dataclass(frozen=True, slots=True)
class Offer:
    """How much is offered in one block: requests a second, seconds, and the pattern of arrivals."""

    rate_per_s: float
    block_s: float
    pattern: str = "trace"


class ChatArm:
    """One arm under one workload: a block is an open loop of about `offer.block_s` seconds."""

    def __init__(self, name: str, send: Send, workload: Workload, offer: Offer, trace: Trace) -> None:
        self.name = name
        self._load = Load(send, deadline_s=DEADLINE_S)
        self._workload = workload
        self._offer = offer
        self._trace = trace

    async def run(self, seed: int) -> list[Sample]:
        """The same seed gives the same sessions at the same times, whatever the arm."""
        visits = self._sessions(seed)
        per_session = questions(visits) / len(visits)
        arrivals = PATTERNS[self._offer.pattern](self._offer.rate_per_s / per_session, self._trace)
        offsets_s = arrivals.offsets_s(len(visits), seed=seed)
        return await self._load.open_loop(visits, offsets_s)

    def _sessions(self, seed: int) -> list[Session]:
        one = self._workload.sessions(1, seed=seed, namespace=POPULATION)
        wanted = self._offer.rate_per_s * self._offer.block_s
        count = max(1, round(wanted / questions(one)))
        return self._workload.sessions(count, seed=seed, namespace=_namespace(self._workload, seed))


async def capacity_per_s(send: Send, workload: Workload, *, duration_s: float, seed: int) -> float:
    """Requests a second that an arm completes with eight users who never think: its capacity.

    The first third fills caches and queues and is not counted. 0.0 when nothing was answered.
    """
    sessions = workload.sessions(2000, seed=seed, namespace=_namespace(workload, seed))
    samples = await Load(send, deadline_s=DEADLINE_S).closed_loop(sessions, crew=CREW, duration_s=duration_s)
    return rate_after(samples, duration_s / 3)


def rate_after(samples: Sequence[Sample], from_s: float) -> float:
    """Answers a second between `from_s` and the last one that was asked while all were busy."""
    until_s = max((sample.started_s for sample in samples), default=0.0)
    done = sum(s.outcome is Outcome.ANSWERED and from_s < s.finished_s <= until_s for s in samples)
    return done / (until_s - from_s) if until_s > from_s else 0.0


def _namespace(workload: Workload, seed: int) -> str:
    """Returning users are one population; the others are new people in every block."""
    return POPULATION if isinstance(workload, ReturningUsers) else f"{POPULATION}-{seed}"


def outputs_by_arm(samples: Mapping[str, Sequence[Sample]]) -> dict[str, float]:
    """Mean tokens of an answer by arm: to see that all arms did the same work."""
    found = {}
    for arm, taken in samples.items():
        tokens = [sample.output_tokens for sample in taken if sample.outcome is Outcome.ANSWERED]
        found[arm] = sum(tokens) / len(tokens) if tokens else 0.0
    return found
