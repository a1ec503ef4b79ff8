"""What one turn asks of PostgreSQL and of Redis, alone, under many clients at once: no engine in between."""

import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self
from uuid import NAMESPACE_URL, UUID, uuid5

import redis.asyncio

from app.cache.dynamic_redis import DynamicRedisCache
from app.db.conversations import Answer, ConversationStore
from app.db.dynamic_session import DynamicPostgreSQLSession
from bench.catalogue import POSTGRESQL
from bench.experiment import SETTLE_S, Context
from bench.load import Load, Reply, Send
from bench.samples import Sample
from bench.trial import Scene, Stand, Taken
from bench.v1.cache import StaticCache
from bench.v1.prompt import FRAGMENTS, Fragment
from bench.v1.storage import StaticStore
from bench.v1.tuning import Tuning
from bench.workloads import Question

CONVERSATIONS = 400
POSTGRESQL_CREW = 60
REDIS_CREW = 64
KEPT = 400
"""Turns that a block keeps: eight rounds of them tell a p99."""
_TEXT = "A short answer that stands for what a small model says in one breath, nothing more."
_HISTORY = [Fragment("What is known of the harbour and its neighbours?", _TEXT)] * FRAGMENTS


def names() -> dict[str, list[tuple[str, str]]]:
    """Conversations of the component runs, with one exchange each; so many that their rows are not hot."""
    return {f"component-{number}": [("What is known?", _TEXT)] for number in range(CONVERSATIONS)}


def visits() -> Iterator[Question]:
    """Turns of those conversations, round and round without end."""
    for number in itertools.cycle(range(CONVERSATIONS)):
        name = f"component-{number}"
        yield Question(name, name, 0, "And who pays for it?", 0)


@dataclass(frozen=True, slots=True)
class TurnArm:
    """One arm's way through a component: `turn` is done by `crew` callers for `block_s` seconds."""

    name: str
    turn: Send
    crew: int
    block_s: float

    async def run(self, seed: int) -> Taken:
        """Closed loop: every caller has exactly one turn in hand. An even part of the turns is kept."""
        del seed
        load = Load(self.turn, clock=time.perf_counter)
        used_s, began_s = time.process_time(), time.perf_counter()
        samples = await load.closed_loop(visits(), crew=self.crew, duration_s=self.block_s)
        took_s, used_s = time.perf_counter() - began_s, time.process_time() - used_s
        figures = {"per_s": len(samples) / took_s, "cpu_us": used_s / max(1, len(samples)) * 1e6}
        return Taken(thinned(samples), figures, took_s, self.crew)

    def lasting(self, block_s: float) -> Self:
        """The same for a longer or shorter block."""
        return replace(self, block_s=block_s)


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """An even part of them in order of their latency: the distribution stays, the file stays small."""
    ordered = sorted(samples, key=lambda sample: sample.total_s)
    kept = min(KEPT, len(ordered))
    return [_bare(ordered[(2 * at + 1) * len(ordered) // (2 * kept)]) for at in range(kept)]


def _bare(sample: Sample) -> Sample:
    return Sample(sample.intended_s, sample.started_s, sample.finished_s, sample.outcome)


def static_store_turn(store: StaticStore) -> Send:
    """V1's three calls: store a question, read what was said, store the answer."""

    async def turn(question: Question) -> Reply:
        conversation = _id(question)
        await store.add_question(question.user_id, conversation, question.text, is_new=False)
        await store.fragments(conversation, FRAGMENTS)
        await store.add_answer(conversation, _TEXT)
        return Reply()

    return turn


def static_cache_turn(cache: StaticCache) -> Send:
    """V1's two calls: read a conversation's history and write it back."""

    async def turn(question: Question) -> Reply:
        await cache.get(_id(question))
        await cache.put(_id(question), _HISTORY)
        return Reply()

    return turn


def pipelined_turn(client: redis.asyncio.Redis, prefix: str) -> Send:
    """The two commands of a turn in one round trip, as somebody writes it who knows that both will come."""
    packed = json.dumps([(fragment.question, fragment.answer) for fragment in _HISTORY])

    async def turn(question: Question) -> Reply:
        key = f"{prefix}:pipeline:{question.conversation}"
        async with client.pipeline(transaction=False) as pipe:
            pipe.get(key)
            pipe.set(key, packed, ex=3600)
            await pipe.execute()
        return Reply()

    return turn


def _store_turn(store: ConversationStore) -> Send:
    """The same three calls of V2."""
    answer = Answer(_TEXT, "short", "none", "stop", 1.0, 1.0, 10)

    async def turn(question: Question) -> Reply:
        conversation = _id(question)
        stored = await store.add_question(
            user_id=question.user_id,
            conversation_id=conversation,
            content=question.text,
            kind="short",
            is_new=False,
        )
        await store.recent(conversation, before_id=stored.id, limit=2 * FRAGMENTS + 1)
        await store.add_answer(stored, answer)
        return Reply()

    return turn


def _cache_turn(cache: DynamicRedisCache) -> Send:
    """The customer's cache of V2, called as V1's."""
    history = [[fragment.question, fragment.answer] for fragment in _HISTORY]

    async def turn(question: Question) -> Reply:
        await cache.get(question.conversation)
        await cache.set(question.conversation, history, 3600)
        return Reply()

    return turn


@asynccontextmanager
async def postgresql_arms(
    urls: Mapping[str, str], block_s: float, tuning: Tuning
) -> AsyncIterator[list[TurnArm]]:
    """One arm for each URL, each on its own database; every name but `v2` is V1's code."""
    async with AsyncExitStack() as closing:
        turns: dict[str, Send] = {}
        for name, url in urls.items():
            if name == "v2":
                dynamic = DynamicPostgreSQLSession(url)
                closing.push_async_callback(dynamic.close)
                store = ConversationStore(dynamic.engine)
                closing.push_async_callback(store.close)
                turns[name] = _store_turn(store)
            else:
                static = StaticStore(url, pool_size=tuning.pool_size if name == "v1_tuned" else 0)
                closing.push_async_callback(static.close)
                turns[name] = static_store_turn(static)
        yield [TurnArm(name, turn, POSTGRESQL_CREW, block_s) for name, turn in turns.items()]


@asynccontextmanager
async def redis_arms(
    urls: Mapping[str, str], block_s: float, tuning: Tuning, *, prefix: str = "bench"
) -> AsyncIterator[list[TurnArm]]:
    """One arm for each URL; keys begin with `prefix`. `pipelines` is redis-py by hand, on V1's server."""
    async with AsyncExitStack() as closing:
        turns: dict[str, Send] = {}
        for name, url in urls.items():
            if name == "v2":
                dynamic = DynamicRedisCache(url, namespace=prefix)
                await dynamic.open()
                closing.push_async_callback(dynamic.close)
                turns[name] = _cache_turn(dynamic)
            elif name == "pipelines":
                client = redis.asyncio.Redis.from_url(url)
                closing.push_async_callback(client.aclose)
                turns[name] = pipelined_turn(client, prefix)
            else:
                pipeline = tuning.pipeline if name == "v1_tuned" else 0
                static = StaticCache(url, pipeline=pipeline, prefix=prefix)
                closing.push_async_callback(static.close)
                turns[name] = static_cache_turn(static)
        yield [TurnArm(name, turn, REDIS_CREW, block_s) for name, turn in turns.items()]


def _id(question: Question) -> UUID:
    return uuid5(NAMESPACE_URL, question.conversation)


OPEN_S = 0.1
"""To open one arm's pool or client anew."""


@dataclass(frozen=True, slots=True)
class Turns:
    """One turn of PostgreSQL or of Redis. Pools and clients are opened for each round and used `warm_s`."""

    name: str
    arms: tuple[str, ...]
    rounds: int
    block_s: float
    warm_s: float
    levels: tuple[float, ...] = (1.0,)

    @property
    def processes(self) -> tuple[str, ...]:
        return ("v1", "v2")

    def round_s(self) -> float:
        warm_s = self.warm_s + SETTLE_S if self.warm_s else 0.0
        return len(self.arms) * (OPEN_S + warm_s + self.block_s + SETTLE_S)

    @asynccontextmanager
    async def opened(self, context: Context) -> AsyncIterator[Stand]:
        for arm in self.processes:
            await context.ground.settle(arm, names())

        @asynccontextmanager
        async def stand(number: int) -> AsyncIterator[list[Scene]]:
            del number
            async with self._opened(context) as arms:
                warm = (
                    [Scene(1.0, [arm.lasting(self.warm_s) for arm in arms], warm_up=True)]
                    if self.warm_s
                    else []
                )
                yield [*warm, Scene(1.0, arms)]

        yield stand

    def _opened(self, context: Context) -> AbstractAsyncContextManager[list[TurnArm]]:
        tuning = context.constants.tuned()
        places = {arm: context.ground.contestants["v2" if arm == "v2" else "v1"] for arm in self.arms}
        if self.name == POSTGRESQL:
            return postgresql_arms({arm: at.database_url for arm, at in places.items()}, self.block_s, tuning)
        urls = {arm: at.redis_url for arm, at in places.items()}
        return redis_arms(urls, self.block_s, tuning, prefix=context.ground.prefix)
