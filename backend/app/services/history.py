"""The turns before a question: from this process, Redis or PostgreSQL, whoever holds exactly them."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from app.cache.dynamic_redis import DynamicRedisCache
from app.cache.write_later import WriteLater
from app.core.adaptive_buffers import POLICY, DataFlowType, DynamicBufferConfig, Flow
from app.core.ports import HistoryFigures
from app.db.conversations import ConversationStore, Question
from fluido import DecisionLog, FlowStats, Meter

from .recall import Recall
from .transcript import MAX_CHARS, MAX_MESSAGES, Transcript, Turn
from .trust import Trust

STALENESS_S = 0.1
MEMORY, REDIS, DATABASE = "memory", "redis", "database"


class History:
    """Finds what was said before a question, and proves that it is current.

    A question is stored behind the last message that its history knows. Where that one has a successor
    already, the transcript was overtaken (another replica answered, an answer failed, a write to Redis was
    lost): the question is stored behind the successor, and the history is looked for further down.

    Nobody waits for a transcript to reach Redis: what matters is in PostgreSQL by then. Redis holds it for
    the other replicas, and for this one when it starts again.
    """

    def __init__(
        self,
        store: ConversationStore,
        cache: DynamicRedisCache,
        *,
        policy: DynamicBufferConfig = POLICY[DataFlowType.CACHE_OPERATION],
        max_messages: int = MAX_MESSAGES,
        max_chars: int = MAX_CHARS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        entries = int(policy.need("prefetch_count"))
        self._store = store
        self._cache = cache
        self._max_messages = max_messages
        self._max_chars = max_chars
        self._clock = clock
        self._recall = Recall[UUID](
            entries,
            policy.need("read_buffer_size"),
            max_age_s=policy.need("cache_ttl_s"),
            clock=clock,
        )
        self._later = WriteLater(
            cache,
            form=_plain,
            name="behind:histories",
            max_pending=entries,
            batch=int(policy.need("batch_size")),
            staleness_s=STALENESS_S,
            clock=clock,
        )
        self._trust = Trust()
        self._log = DecisionLog()
        self._meter = Meter("histories", "history", waits=False, services=False)
        self.found = {MEMORY: 0, REDIS: 0, DATABASE: 0}
        self.overtaken = {MEMORY: 0, REDIS: 0}

    async def known(self, conversation_id: UUID, user_id: str) -> Transcript | None:
        """Return what memory or Redis holds of this user, current or not; None when they hold nothing.

        Redis is asked where memory holds nothing, or has been overtaken too often of late.
        """
        remembered = self._remembered(conversation_id, user_id)
        if remembered is not None and self._trust.is_given:
            return remembered
        shared = await self._shared(conversation_id, user_id)
        if remembered is None or shared is None:
            return shared or remembered
        return max(remembered, shared, key=lambda transcript: transcript.last_id or 0)

    async def proven(self, question: Question, known: Transcript | None, user_id: str) -> Transcript | None:
        """Return the turns before `question`; None when only PostgreSQL has them: `read` them."""
        last_id = question.previous_id
        if last_id is None:
            return Transcript(None, (), user_id)
        remembered = self._remembered(question.conversation_id, user_id)
        if remembered is not None:
            is_current = remembered.last_id == last_id
            self._learn(is_current)
            if is_current:
                self.found[MEMORY] += 1
                return remembered
            self.overtaken[MEMORY] += 1
            if known is remembered:
                known = await self._shared(question.conversation_id, user_id)
        if known is not None and known.last_id == last_id:
            self.found[REDIS] += 1
            return known
        if known is not None:
            self.overtaken[REDIS] += 1
        return None

    async def read(self, question: Question, user_id: str) -> Transcript:
        """Return the turns before `question` from PostgreSQL."""
        self.found[DATABASE] += 1
        rows = await self._store.recent(
            question.conversation_id, before_id=question.id, limit=self._max_messages
        )
        return Transcript(question.previous_id, tuple(Turn(row.role, row.content) for row in rows), user_id)

    def remember(self, conversation_id: UUID, transcript: Transcript) -> None:
        """Keep the newest transcript, cut in one step when it has grown too long; Redis gets it soon."""
        known = self._recall.of(conversation_id)
        if known is not None and (known.last_id or 0) > (transcript.last_id or 0):
            return
        kept = transcript.cut(self._max_messages, self._max_chars)
        self._recall.keep(conversation_id, kept)
        self._later.put(_key(conversation_id), kept)

    def overlook(self, conversation_id: UUID) -> None:
        """Let go of what this process knows: messages came between that it has not seen."""
        self._recall.forget(conversation_id)
        self._later.forget(_key(conversation_id))

    async def forget(self, conversation_id: UUID) -> None:
        """Drop a deleted conversation everywhere."""
        self.overlook(conversation_id)
        await self._cache.delete(_key(conversation_id))

    async def flush(self) -> None:
        """Write what waits for Redis now."""
        await self._later.flush()

    async def close(self) -> None:
        """Write what waits for Redis, for a second at most. Idempotent."""
        await self._later.close()

    def flows(self) -> Iterable[Flow]:
        """The look for histories, and the buffer in front of Redis."""
        return [self, self._later]

    def live(self) -> dict[str, float | None]:
        """The values in force now, by the names of `DynamicBufferConfig`."""
        return {
            "read_buffer_size": round(self._recall.max_bytes),
            "prefetch_count": self._recall.max_entries,
            "batch_size": round(self._later.stats().value),
        }

    def histories(self) -> HistoryFigures:
        """Counts since the start, and what is kept now."""
        return HistoryFigures(
            found=dict(self.found),
            overtaken=dict(self.overtaken),
            kept=len(self._recall),
            kept_bytes=self._recall.bytes,
            writes=self._later.outcomes(),
            write_s=self._later.write_s,
        )

    def stats(self) -> FlowStats:
        """As a flow: 1 while memory is asked before Redis; the reasons count what was found where."""
        overtaken = {f"overtaken_{tier}": count for tier, count in self.overtaken.items()}
        self._meter.admitted = self._meter.completed = sum(self.found.values())
        return self._meter.stats(
            self._trust, self._log, self.found | overtaken, value=float(self._trust.is_given)
        )

    def _learn(self, is_current: bool) -> None:
        if self._trust.observe(is_current):
            is_given = self._trust.is_given
            # Where others go on with our conversations they read them from Redis: at once, then.
            self._later.staleness_s = STALENESS_S if is_given else 0.0
            reason = "current" if is_given else "overtaken"
            self._log.record(
                self._clock(), float(is_given), reason, {"overtaken_share": self._trust.overtaken}
            )

    def _remembered(self, conversation_id: UUID, user_id: str) -> Transcript | None:
        found = self._recall.of(conversation_id)
        return found if found is not None and found.user_id == user_id else None

    async def _shared(self, conversation_id: UUID, user_id: str) -> Transcript | None:
        found: Transcript | None = await self._cache.get(_key(conversation_id), parse=_parsed)
        return found if found is not None and found.user_id == user_id else None


def _key(conversation_id: UUID) -> str:
    return f"history:{conversation_id}"


def _plain(transcript: Transcript) -> Mapping[str, Any]:
    return {
        "user_id": transcript.user_id,
        "last_id": transcript.last_id,
        "turns": [[turn.role, turn.content] for turn in transcript.turns],
    }


def _parsed(found: object) -> Transcript:
    """What `_plain` wrote. Raises ValueError for everything else."""
    match found:
        case {"user_id": str(user_id), "last_id": int(last_id), "turns": list(turns)} if all(
            _is_turn(turn) for turn in turns
        ):
            return Transcript(last_id, tuple(Turn(role, content) for role, content in turns), user_id)
        case _:
            raise ValueError("not a history")


def _is_turn(turn: object) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and all(isinstance(part, str) for part in turn)
