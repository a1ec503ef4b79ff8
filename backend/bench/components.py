"""What one turn asks of PostgreSQL and of Redis, alone, under many callers at once: no engine in between."""

import itertools
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self
from uuid import NAMESPACE_URL, UUID, uuid5

from app.cache.dynamic_redis import DynamicRedisCache
from app.db.conversations import Answer, ConversationStore
from app.db.dynamic_session import DynamicPostgreSQLSession
from bench.load import Load, Reply, Send
from bench.trial import Taken
from bench.v1.cache import StaticCache
from bench.v1.prompt import FRAGMENTS, Fragment
from bench.v1.storage import StaticStore
from bench.v1.tuning import Tuning
from bench.workloads import Question, Session

CONVERSATIONS = 400
POSTGRESQL_CREW = 60
REDIS_CREW = 64
_TEXT = "A short answer that stands for what a small model says in one breath, nothing more."
_HISTORY = [Fragment("What is known of the harbour and its neighbours?", _TEXT)] * FRAGMENTS


def names() -> dict[str, list[tuple[str, str]]]:
    """Conversations of the component runs, with one exchange each; so many that their rows are not hot."""
    return {f"component-{number}": [("What is known?", _TEXT)] for number in range(CONVERSATIONS)}


def visits() -> Iterator[Session]:
    """Turns of those conversations, round and round without end."""
    for number in itertools.cycle(range(CONVERSATIONS)):
        name = f"component-{number}"
        yield Session((Question(name, name, 0, "And who pays for it?", 0),), ())


@dataclass(frozen=True, slots=True)
class ComponentArm:
    """One arm's way through a component: `turn` is done by `crew` callers for `block_s` seconds."""

    name: str
    turn: Send
    crew: int
    block_s: float

    async def run(self, seed: int) -> Taken:
        """Closed loop: every caller has exactly one turn in hand."""
        del seed
        load = Load(self.turn, clock=time.perf_counter)
        return Taken(await load.closed_loop(visits(), crew=self.crew, duration_s=self.block_s))

    def lasting(self, block_s: float) -> Self:
        """The same for a longer or shorter block."""
        return replace(self, block_s=block_s)


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
) -> AsyncIterator[list[ComponentArm]]:
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
        yield [ComponentArm(name, turn, POSTGRESQL_CREW, block_s) for name, turn in turns.items()]


@asynccontextmanager
async def redis_arms(
    urls: Mapping[str, str], block_s: float, tuning: Tuning, *, prefix: str = "bench"
) -> AsyncIterator[list[ComponentArm]]:
    """One arm for each URL; every key begins with `prefix`."""
    async with AsyncExitStack() as closing:
        turns: dict[str, Send] = {}
        for name, url in urls.items():
            if name == "v2":
                dynamic = DynamicRedisCache(url, namespace=prefix)
                await dynamic.open()
                closing.push_async_callback(dynamic.close)
                turns[name] = _cache_turn(dynamic)
            else:
                pipeline = tuning.pipeline if name == "v1_tuned" else 0
                static = StaticCache(url, pipeline=pipeline, prefix=prefix)
                closing.push_async_callback(static.close)
                turns[name] = static_cache_turn(static)
        yield [ComponentArm(name, turn, REDIS_CREW, block_s) for name, turn in turns.items()]


def _id(question: Question) -> UUID:
    return uuid5(NAMESPACE_URL, question.conversation)
