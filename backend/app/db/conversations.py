"""Rows of conversations and messages. Every public call is one statement and one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.failures import NotFound
from app.core.ports import Conversation, ConversationSummary, StoredMessage

from .failures import storage
from .schema import conversations, messages

TITLE_CHARS = 80
_GONE = "There is no such conversation for this user."


@dataclass(frozen=True, slots=True)
class Question:
    """A stored user message. `previous_id` is the message before it, or None at the start."""

    id: int
    conversation_id: UUID
    previous_id: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to be stored, with the timings that are kept beside it."""

    content: str
    kind: str
    model: str
    finish_reason: str
    ttft_ms: float
    total_ms: float
    output_tokens: int


# The message and its conversation are written by one statement each way, so a crash leaves both or
# neither. RETURNING sees the table as it was before the insert: max(id) is the previous message.
_OPEN = sa.text(
    """
    WITH opened AS (
        INSERT INTO conversations (id, user_id, title) VALUES (:conversation_id, :user_id, :title)
        RETURNING id
    )
    INSERT INTO messages (conversation_id, role, content, kind)
    SELECT id, 'user', :content, :kind FROM opened
    RETURNING id, CAST(NULL AS bigint) AS previous_id
    """
)
_CONTINUE = sa.text(
    """
    WITH touched AS (
        UPDATE conversations SET updated_at = now()
        WHERE id = :conversation_id AND user_id = :user_id
        RETURNING id
    )
    INSERT INTO messages (conversation_id, role, content, kind)
    SELECT id, 'user', :content, :kind FROM touched
    RETURNING id, (SELECT max(m.id) FROM messages m WHERE m.conversation_id = :conversation_id) AS previous_id
    """
)
_ANSWER = sa.text(
    """
    WITH touched AS (
        UPDATE conversations SET updated_at = now() WHERE id = :conversation_id RETURNING id
    )
    INSERT INTO messages
        (conversation_id, role, content, kind, model, finish_reason, ttft_ms, total_ms, output_tokens)
    SELECT id, 'assistant', :content, :kind, :model, :finish_reason, :ttft_ms, :total_ms, :output_tokens
    FROM touched
    RETURNING id
    """
)


async def insert_question(
    connection: AsyncConnection,
    *,
    user_id: str,
    conversation_id: UUID,
    content: str,
    kind: str,
    is_new: bool,
) -> Question:
    """Store a user's message on `connection`; `NotFound` if the conversation is not this user's."""
    values = {"conversation_id": conversation_id, "user_id": user_id, "content": content, "kind": kind}
    if is_new:
        values["title"] = " ".join(content.split())[:TITLE_CHARS]
    row = (await connection.execute(_OPEN if is_new else _CONTINUE, values)).one_or_none()
    if row is None:
        raise NotFound(_GONE)
    return Question(id=row.id, conversation_id=conversation_id, previous_id=row.previous_id)


class ConversationStore:
    """Conversations on an engine; autocommit, because each call is a single statement."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def add_question(
        self, *, user_id: str, conversation_id: UUID, content: str, kind: str, is_new: bool
    ) -> Question:
        """Store a user's message and return it once it is committed."""
        with storage():
            async with self._engine.connect() as connection:
                return await insert_question(
                    connection,
                    user_id=user_id,
                    conversation_id=conversation_id,
                    content=content,
                    kind=kind,
                    is_new=is_new,
                )

    async def add_answer(self, conversation_id: UUID, answer: Answer) -> int:
        """Store an answer and return its id; `NotFound` if the conversation was deleted meanwhile."""
        values: dict[str, Any] = {
            "conversation_id": conversation_id,
            "content": answer.content,
            "kind": answer.kind,
            "model": answer.model,
            "finish_reason": answer.finish_reason,
            "ttft_ms": answer.ttft_ms,
            "total_ms": answer.total_ms,
            "output_tokens": answer.output_tokens,
        }
        with storage():
            async with self._engine.connect() as connection:
                row = (await connection.execute(_ANSWER, values)).one_or_none()
        if row is None:
            raise NotFound("The conversation was deleted while it was answered.")
        return int(row.id)

    async def recent(
        self, conversation_id: UUID, *, before_id: int | None, limit: int
    ) -> list[StoredMessage]:
        """Return up to `limit` messages older than `before_id` (all when None), oldest first."""
        query = sa.select(messages.c.id, messages.c.role, messages.c.content, messages.c.created_at).where(
            messages.c.conversation_id == conversation_id
        )
        if before_id is not None:
            query = query.where(messages.c.id < before_id)
        rows = await self._rows(query.order_by(messages.c.id.desc()).limit(limit))
        return [StoredMessage(row.id, row.role, row.content, row.created_at) for row in reversed(rows)]

    async def conversation(self, conversation_id: UUID, user_id: str | None, limit: int) -> Conversation:
        """Return a conversation with its last `limit` messages."""
        query = sa.select(conversations).where(conversations.c.id == conversation_id)
        if user_id is not None:
            query = query.where(conversations.c.user_id == user_id)
        rows = await self._rows(query)
        if not rows:
            raise NotFound(_GONE)
        return Conversation(
            _summary(rows[0]), await self.recent(conversation_id, before_id=None, limit=limit)
        )

    async def of_user(self, user_id: str, limit: int) -> list[ConversationSummary]:
        """Return the user's conversations, the most recently used first."""
        query = sa.select(conversations).where(conversations.c.user_id == user_id)
        rows = await self._rows(query.order_by(conversations.c.updated_at.desc()).limit(limit))
        return [_summary(row) for row in rows]

    async def delete(self, conversation_id: UUID, user_id: str | None) -> None:
        """Delete a conversation with its messages."""
        query = sa.delete(conversations).where(conversations.c.id == conversation_id)
        if user_id is not None:
            query = query.where(conversations.c.user_id == user_id)
        if not await self._rows(query.returning(conversations.c.id)):
            raise NotFound(_GONE)

    async def _rows(self, query: Any) -> Sequence[sa.Row[Any]]:
        with storage():
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).all()


def _summary(row: sa.Row[Any]) -> ConversationSummary:
    created: datetime = row.created_at
    return ConversationSummary(row.id, row.user_id, row.title, created, row.updated_at)
