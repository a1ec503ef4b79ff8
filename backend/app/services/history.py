"""The recent turns of a conversation: from Redis when it holds exactly them, else from PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID

from app.db.conversations import ConversationStore, Question


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """Turns of `user_id` up to and including the stored message `last_id`, oldest first."""

    last_id: int | None
    turns: tuple[Turn, ...]
    user_id: str = ""

    def followed_by(self, last_id: int | None, *turns: Turn) -> "Transcript":
        """Return the transcript after `turns`; only ever appended to, so a prompt's prefix stays."""
        return replace(self, last_id=last_id, turns=(*self.turns, *turns))


class Cache(Protocol):
    """What the history needs of a cache. A dead cache answers None and False; it never raises."""

    async def get(self, key: str) -> Any: ...

    async def set(self, key: str, value: Any, ttl: float | None = None) -> bool: ...

    async def delete(self, *keys: str) -> int: ...


class History:
    """Reads through the cache and proves that what it found is current.

    A question is stored behind the last message that its history knows. Where that one has a
    successor already, the transcript is stale (a write to Redis was lost, another replica answered):
    the question is stored behind the successor, and the history is read again.
    """

    def __init__(self, store: ConversationStore, cache: Cache, *, max_messages: int, max_chars: int) -> None:
        self._store = store
        self._cache = cache
        self._max_messages = max_messages
        self._max_chars = max_chars
        self.hits = 0
        self.misses = 0
        self.stale = 0

    async def cached(self, conversation_id: UUID, user_id: str) -> Transcript | None:
        """Return what the cache holds of this user, current or not; None when it holds nothing."""
        found = await self._cache.get(_key(conversation_id))
        if not isinstance(found, dict) or found["user_id"] != user_id:
            return None
        turns = tuple(Turn(role, content) for role, content in found["turns"])
        return Transcript(found["last_id"], turns, user_id)

    async def before(self, question: Question, cached: Transcript | None, user_id: str) -> Transcript:
        """Return the turns before `question`."""
        if question.previous_id is None:
            return Transcript(None, (), user_id)
        if cached is not None and cached.last_id == question.previous_id:
            self.hits += 1
            return cached
        if cached is None:
            self.misses += 1
        else:
            self.stale += 1
        rows = await self._store.recent(
            question.conversation_id, before_id=question.id, limit=self._max_messages
        )
        return Transcript(question.previous_id, tuple(Turn(row.role, row.content) for row in rows), user_id)

    async def remember(self, conversation_id: UUID, transcript: Transcript) -> None:
        """Put the newest transcript into the cache, cut in one step when it has grown too long."""
        kept = bounded(transcript.turns, self._max_messages, self._max_chars)
        await self._cache.set(
            _key(conversation_id),
            {
                "user_id": transcript.user_id,
                "last_id": transcript.last_id,
                "turns": [[turn.role, turn.content] for turn in kept],
            },
        )

    async def forget(self, conversation_id: UUID) -> None:
        """Drop a deleted conversation from the cache."""
        await self._cache.delete(_key(conversation_id))


def _key(conversation_id: UUID) -> str:
    return f"history:{conversation_id}"


def bounded(turns: Sequence[Turn], max_messages: int, max_chars: int) -> Sequence[Turn]:
    """Keep all, or cut to half of the bounds: a window that slides by one turn never matches twice."""
    if len(turns) <= max_messages and sum(len(turn.content) for turn in turns) <= max_chars:
        return turns
    kept: list[Turn] = []
    chars = 0
    for turn in reversed(turns):
        chars += len(turn.content)
        if kept and (len(kept) >= max_messages // 2 or chars > max_chars // 2):
            break
        kept.append(turn)
    kept.reverse()
    return kept
