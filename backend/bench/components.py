"""What one turn asks of PostgreSQL and of Redis, alone, under many callers at once: no engine in between."""

import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

from app.cache.dynamic_redis import DynamicRedisCache
from app.db.conversations import Answer, ConversationStore
from app.db.dynamic_session import DynamicPostgreSQLSession
from bench.load import Load, Reply
from bench.samples import Sample
from bench.v1.cache import StaticCache
from bench.v1.prompt import FRAGMENTS, Fragment
from bench.v1.storage import StaticStore
from bench.workloads import Question, Session

POSTGRESQL, REDIS = "postgresql_turn", "redis_turn"
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
    turn: Callable[[Question], Awaitable[Reply]]
    crew: int
    block_s: float

    async def run(self, seed: int) -> list[Sample]:
        """Closed loop: every caller has exactly one turn in hand."""
        del seed
        load = Load(self.turn, clock=time.perf_counter)
        return await load.closed_loop(visits(), crew=self.crew, duration_s=self.block_s)


@asynccontextmanager
async def postgresql_arms(urls: dict[str, str], block_s: float) -> AsyncIterator[list[ComponentArm]]:
    """Store a question, read what was said, store the answer: three calls of each arm's own code."""
    static = StaticStore(urls["v1"])
    dynamic = DynamicPostgreSQLSession(urls["v2"])
    store = ConversationStore(dynamic.engine)
    answer = Answer(_TEXT, "short", "none", "stop", 1.0, 1.0, 10)

    async def v1(question: Question) -> Reply:
        conversation = _id(question)
        await static.add_question(question.user_id, conversation, question.text, is_new=False)
        await static.fragments(conversation, FRAGMENTS)
        await static.add_answer(conversation, _TEXT)
        return Reply()

    async def v2(question: Question) -> Reply:
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

    try:
        yield [ComponentArm(name, turn, POSTGRESQL_CREW, block_s) for name, turn in (("v1", v1), ("v2", v2))]
    finally:
        await store.close()
        await dynamic.close()
        await static.close()


@asynccontextmanager
async def redis_arms(urls: dict[str, str], block_s: float) -> AsyncIterator[list[ComponentArm]]:
    """Read a conversation's history and write it back: the customer's cache of each arm."""
    static = StaticCache(urls["v1"])
    dynamic = DynamicRedisCache(urls["v2"], namespace="bench")
    await dynamic.open()
    history = [[fragment.question, fragment.answer] for fragment in _HISTORY]

    async def v1(question: Question) -> Reply:
        await static.get(_id(question))
        await static.put(_id(question), _HISTORY)
        return Reply()

    async def v2(question: Question) -> Reply:
        await dynamic.get(question.conversation)
        await dynamic.set(question.conversation, history, 3600)
        return Reply()

    try:
        yield [ComponentArm(name, turn, REDIS_CREW, block_s) for name, turn in (("v1", v1), ("v2", v2))]
    finally:
        await dynamic.close()
        await static.close()


def _id(question: Question) -> UUID:
    return uuid5(NAMESPACE_URL, question.conversation)
