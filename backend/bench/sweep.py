"""What a good engineer with a free afternoon would do to V1: try every constant here, keep the best.

V1's own code, in this process, on the servers of the arm `v1_tuned`. Values take turns in a drawn order.
"""

import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from app.core.failures import EngineFailed
from app.core.ports import ChatRequest, Reply
from bench.components import POSTGRESQL_CREW, REDIS_CREW, static_cache_turn, static_store_turn, visits
from bench.experiments import CREW, POPULATION
from bench.load import FailedError, Load, Send
from bench.load import Reply as Answer
from bench.profiles import TunePlan
from bench.samples import Outcome
from bench.stage import Contestant
from bench.v1.cache import StaticCache
from bench.v1.storage import StaticStore
from bench.v1.system import StaticSystem
from bench.v1.tuning import Tuning
from bench.workloads import Question, Workload

POOL_SIZES = (0, 5, 10, 20, 40)
PIPELINES = (0, 4, 16, 64, 256)
IN_FLIGHT = (0, 1, 2, 3, 4, 6)
"""0: as the library has it."""


def planned_s(plan: TunePlan) -> float:
    """Seconds that the sweep takes."""
    turns = (len(POOL_SIZES) + len(PIPELINES)) * plan.block_s
    return plan.rounds * (turns + len(IN_FLIGHT) * (plan.chat_block_s + 0.7)) + 3.0


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best constants, and what every tried value reached."""

    tuning: Tuning
    per_s: Mapping[str, Mapping[int, float]]

    def document(self) -> dict[str, Any]:
        """For the result."""
        return {
            name: {
                "chosen": getattr(self.tuning, name),
                "per_s": {str(value): rate for value, rate in rates.items()},
            }
            for name, rates in self.per_s.items()
        }


async def tune(contestant: Contestant, workload: Workload, plan: TunePlan, *, seed: int) -> Tuned:
    """Calls a second by value for each constant; the conversations of `workload` and the turns exist."""

    async def pool(value: int, _seed: int) -> float:
        store = StaticStore(contestant.database_url, pool_size=value)
        try:
            return await _rate(static_store_turn(store), POSTGRESQL_CREW, plan.block_s)
        finally:
            await store.close()

    async def pipeline(value: int, _seed: int) -> float:
        cache = StaticCache(contestant.redis_url, pipeline=value)
        try:
            return await _rate(static_cache_turn(cache), REDIS_CREW, plan.block_s)
        finally:
            await cache.close()

    async def in_flight(value: int, seed: int) -> float:
        return await _chat_rate(contestant, value, workload, plan.chat_block_s, seed)

    asked: dict[str, tuple[Callable[[int, int], Awaitable[float]], tuple[int, ...]]] = {
        "pool_size": (pool, POOL_SIZES),
        "pipeline": (pipeline, PIPELINES),
        "in_flight": (in_flight, IN_FLIGHT),
    }
    found = {name: await _sweep(ask, values, plan.rounds, seed) for name, (ask, values) in asked.items()}
    best = {name: max(rates, key=rates.__getitem__) for name, rates in found.items()}
    return Tuned(Tuning(**best), found)


async def _sweep(
    ask: Callable[[int, int], Awaitable[float]], values: tuple[int, ...], rounds: int, seed: int
) -> dict[int, float]:
    rates: dict[int, list[float]] = {value: [] for value in values}
    for index in range(rounds):
        order = list(values)
        random.Random(seed + index).shuffle(order)
        for value in order:
            rates[value].append(await ask(value, seed + index))
    return {value: statistics.median(found) for value, found in rates.items()}


async def _rate(turn: Send, crew: int, duration_s: float) -> float:
    began = time.perf_counter()
    samples = await Load(turn).closed_loop(visits(), crew=crew, duration_s=duration_s)
    return len(samples) / (time.perf_counter() - began)


async def _chat_rate(
    contestant: Contestant, in_flight: int, workload: Workload, duration_s: float, seed: int
) -> float:
    """Answers a second for a crew of eight."""
    system = StaticSystem(
        database_url=contestant.database_url,
        redis_url=contestant.redis_url,
        engine_url=contestant.engine_url,
        dialect="ollama" if contestant.engine_kind == "ollama" else "llamacpp",
        model=contestant.model,
        tuning=Tuning(in_flight=in_flight),
    )
    await system.open()
    try:

        async def send(question: Question) -> Answer:
            return await _answer(system, question)

        sessions = workload.sessions(5000, seed=seed, namespace=POPULATION)
        began = time.perf_counter()
        samples = await Load(send).closed_loop(sessions, crew=CREW, duration_s=duration_s)
        answered = sum(sample.outcome is Outcome.ANSWERED for sample in samples)
        return answered / (time.perf_counter() - began)
    finally:
        await system.close()


async def _answer(system: StaticSystem, question: Question) -> Answer:
    request = ChatRequest(
        user_id=question.user_id,
        message=question.text,
        conversation_id=uuid5(NAMESPACE_URL, question.conversation),
        max_output_tokens=question.output_tokens,
    )
    try:
        async with aclosing(system.assistant.chat(request)) as events:
            async for event in events:
                if isinstance(event, Reply):
                    return Answer(None, event.output_tokens)
    except EngineFailed as error:
        raise FailedError(str(error)) from error
    raise FailedError("no last event")
