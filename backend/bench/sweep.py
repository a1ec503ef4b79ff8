"""What a good engineer with a free afternoon would do to V1: try every constant here, keep the best.

V1's own code, in this process, on the servers of the arm `v1`. Values take turns in a drawn order. The
requests in flight and the exchanges that are sent are tried together: the best of one depends on the other.
"""

import itertools
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
from bench.experiment import Context
from bench.experiments.people import CREW, rate_after
from bench.experiments.turns import (
    POSTGRESQL_CREW,
    REDIS_CREW,
    names,
    static_cache_turn,
    static_store_turn,
    visits,
)
from bench.load import FailedError, Load, Send
from bench.load import Reply as Answer
from bench.samples import Outcome
from bench.stage import Contestant
from bench.v1.cache import StaticCache
from bench.v1.storage import StaticStore
from bench.v1.system import StaticSystem
from bench.v1.tuning import WHOLE, Tuning
from bench.workloads import Population, Question

POOL_SIZES = (0, 5, 10, 20, 40)
PIPELINES = (0, 4, 16, 64, 256)
IN_FLIGHT = (0, 1, 2, 4)
EXCHANGES = (3, WHOLE)
"""0: as the library has it."""
PEOPLE = 200

Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Each value gets `rounds` blocks."""

    rounds: int
    block_s: float
    chat_block_s: float

    def planned_s(self) -> float:
        """Seconds that the sweep takes."""
        turns = (len(POOL_SIZES) + len(PIPELINES)) * self.block_s
        grid = len(IN_FLIGHT) * len(EXCHANGES) * (self.chat_block_s + 0.5)
        return self.rounds * (turns + grid) + 3.0


async def tune(context: Context, plan: Sweep) -> dict[str, Any]:
    """The chosen constants, and the calls a second of every value that was tried, for the result."""
    contestant = context.ground.contestants["v1"]
    people = context.population(f"s{context.number()}", PEOPLE)
    await context.ground.settle("v1", {**names(), **people.histories()})

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

    async def chat(value: tuple[int, int], seed: int) -> float:
        tuning = Tuning(in_flight=value[0], exchanges=value[1])
        return await _chat_rate(contestant, tuning, people, plan.chat_block_s, seed)

    found = {
        "pool_size": _told(await _sweep(pool, POOL_SIZES, plan.rounds, context.seed)),
        "pipeline": _told(await _sweep(pipeline, PIPELINES, plan.rounds, context.seed)),
    }
    grid = await _sweep(chat, tuple(itertools.product(IN_FLIGHT, EXCHANGES)), plan.rounds, context.seed)
    return {**found, **of_grid(grid)}


def of_grid(grid: Mapping[tuple[int, int], float]) -> dict[str, Any]:
    """The best pair, and the best in flight where the whole history is sent."""
    in_flight, exchanges = max(grid, key=grid.__getitem__)
    whole = {value[0]: rate for value, rate in grid.items() if value[1] == WHOLE}
    return {
        "in_flight": {
            "chosen": in_flight,
            "per_s": {str(n): rate for (n, sent), rate in grid.items() if sent == exchanges},
        },
        "exchanges": {
            "chosen": exchanges,
            "per_s": {str(sent): rate for (n, sent), rate in grid.items() if n == in_flight},
        },
        "whole_in_flight": _told(whole),
    }


def _told(rates: Mapping[int, float]) -> dict[str, Any]:
    chosen = max(rates, key=rates.__getitem__)
    return {"chosen": chosen, "per_s": {str(value): rate for value, rate in rates.items()}}


async def _sweep(
    ask: Callable[[Any, int], Awaitable[float]], values: Values, rounds: int, seed: int
) -> dict[Any, float]:
    rates: dict[Any, list[float]] = {value: [] for value in values}
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
    contestant: Contestant, tuning: Tuning, people: Population, duration_s: float, seed: int
) -> float:
    """Answers a second without pauses."""
    system = StaticSystem(
        database_url=contestant.database_url,
        redis_url=contestant.redis_url,
        engine_url=contestant.engine_url,
        dialect="ollama" if contestant.engine_kind == "ollama" else "llamacpp",
        model=contestant.model,
        tuning=tuning,
        prefix=f"sweep-{seed}-{tuning.exchanges}-{tuning.in_flight}",
    )
    await system.open()
    try:

        async def send(question: Question) -> Answer:
            return await _answer(system, question)

        samples = await Load(send).crew(people.sequence(), size=CREW, duration_s=duration_s)
        answered = [sample.finished_s for sample in samples if sample.outcome is Outcome.ANSWERED]
        return rate_after(answered, duration_s / 3)
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
