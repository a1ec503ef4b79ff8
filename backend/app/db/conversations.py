"""Rows of conversations and messages. Every public call is one statement and one round trip."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.adaptive_buffers import POLICY, DataFlowType, DynamicBufferConfig
from app.core.failures import NotFound
from app.core.ports import Conversation, ConversationSummary, Cursor, Owner, StoredMessage
from fluido.laws import BatchCap
from fluido.sqlalchemy import GroupWriter

from .edits import holds, is_of, rename, take_back
from .failures import storage
from .schema import conversations, messages

TITLE_CHARS = 80
_GONE = "There is no such conversation for this user."
_DELETED = "The conversation was deleted while it was answered."
Stored = TypeVar("Stored")


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


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The id of an answer, and whether it stands right behind its question."""

    id: int
    is_next: bool


# The message and its conversation are written by one statement each way, so a crash leaves both or
# neither. A subquery sees the table as it was before the insert: max(id) is the previous message.
_OPEN = sa.text(
    """
    WITH opened AS (
        INSERT INTO conversations (id, tenant, user_id, title)
        VALUES (:conversation_id, :tenant, :user_id, :title)
        RETURNING id
    )
    INSERT INTO messages (conversation_id, role, content, kind, nonce)
    SELECT id, 'user', :content, :kind, :nonce FROM opened
    RETURNING id, previous_id
    """
)
_CONTINUE = sa.text(
    """
    INSERT INTO messages (conversation_id, previous_id, role, content, kind, nonce)
    SELECT c.id, (SELECT max(m.id) FROM messages m WHERE m.conversation_id = c.id), 'user', :content, :kind,
           :nonce
    FROM conversations c
    WHERE c.id = :conversation_id AND c.user_id = :user_id AND c.tenant = ANY(CAST(:tenants AS text[]))
    RETURNING id, previous_id
    """
)
_ANSWER_LAST = sa.text(
    """
    INSERT INTO messages (conversation_id, previous_id, role, content, kind, model, finish_reason,
                          ttft_ms, total_ms, output_tokens, nonce)
    SELECT c.id, (SELECT max(m.id) FROM messages m WHERE m.conversation_id = c.id), 'assistant', :content,
           :kind, :model, :finish_reason, :ttft_ms, :total_ms, :output_tokens, :nonce
    FROM conversations c WHERE c.id = :conversation_id
      AND NOT EXISTS (SELECT 1 FROM messages q WHERE q.id = :question_id AND q.taken_back)
    RETURNING id
    """
)
# A write that is repeated looks for what the first one stored. The unique index finds the conversation's
# rows.
_STORED = sa.text(
    """
    SELECT id, previous_id FROM messages WHERE conversation_id = :conversation_id AND nonce = :nonce
    """
)
# A question that nobody began to answer is taken back, with the conversation that it began and its key.
_WITHDRAW = sa.text(
    """
    WITH noted AS (
        DELETE FROM requests r
        WHERE r.message_id = :id AND r.holder = CAST(:holder AS uuid) AND r.answer_id IS NULL
        RETURNING r.message_id
    ), gone AS (
        DELETE FROM messages m
        WHERE m.id = :id AND m.conversation_id = :conversation_id
          AND (CAST(:holder AS uuid) IS NULL OR EXISTS (SELECT 1 FROM noted))
          AND NOT EXISTS (
            SELECT 1 FROM messages n WHERE n.conversation_id = m.conversation_id AND n.previous_id = m.id
          )
        RETURNING m.id
    ), emptied AS (
        DELETE FROM conversations c USING gone
        WHERE c.id = :conversation_id AND NOT EXISTS (
            SELECT 1 FROM messages m WHERE m.conversation_id = c.id AND m.id <> gone.id
        )
    )
    SELECT id FROM gone
    """
)
# Named in the row of a question too: rows with the same columns are one statement and one commit, while a
# batch of two kinds is a transaction with a statement for each run of one kind.
_ONLY_ANSWERS = dict.fromkeys(field.name for field in fields(Answer) if field.name not in ("content", "kind"))
_UNIQUE, _FOREIGN_KEY = "23505", "23503"
# Writers that meet again and again at the end of one conversation give up after so many tries.
_TRIES = 5


async def insert_question(
    connection: AsyncConnection,
    *,
    user_id: str,
    conversation_id: UUID,
    content: str,
    kind: str,
    is_new: bool,
    tenants: Sequence[str] = ("",),
    nonce: UUID | None = None,
) -> Question:
    """Store a user's message on `connection`; `NotFound` if the conversation is not this user's."""
    values: dict[str, Any] = {
        "conversation_id": conversation_id,
        "user_id": user_id,
        "content": content,
        "kind": kind,
        "nonce": nonce,
    }
    if is_new:
        values |= {"title": " ".join(content.split())[:TITLE_CHARS], "tenant": tenants[0]}
    else:
        values["tenants"] = list(tenants)
    row = (await connection.execute(_OPEN if is_new else _CONTINUE, values)).one_or_none()
    if row is None:
        raise NotFound(_GONE)
    return Question(id=row.id, conversation_id=conversation_id, previous_id=row.previous_id)


_SHOWN = [messages.c[name] for name in ("id", "role", "content", "created_at", "finish_reason")]
_last_message = (
    sa.select(messages.c.created_at)
    .where(messages.c.conversation_id == conversations.c.id)
    .order_by(messages.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_SUMMARIES = sa.select(
    conversations, sa.func.coalesce(_last_message, conversations.c.created_at).label("updated_at")
).subquery("summaries")


class ConversationStore:
    """Conversations on an engine; autocommit, because each call is a single statement.

    Messages that follow a known one go through a group writer: those of all callers that arrive
    while a write is under way are the next write, one statement and one commit.
    """

    def __init__(
        self, engine: AsyncEngine, policy: DynamicBufferConfig = POLICY[DataFlowType.DATABASE_QUERY]
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        cap = BatchCap(ceiling=policy.need("batch_size"))
        self.writer = GroupWriter(engine, messages, returning=("id",), law=cap)

    async def close(self) -> None:
        """Store what is pending and refuse newcomers. Idempotent."""
        await self.writer.close()

    async def add_question(
        self,
        *,
        user_id: str,
        conversation_id: UUID,
        content: str,
        kind: str,
        is_new: bool,
        follows: int | None = None,
        tenants: Sequence[str] = ("",),
        nonce: UUID | None = None,
        is_again: bool = False,
    ) -> Question:
        """Store a user's message and return it once it is committed.

        `follows` is the last message of a history that is known to be this user's. When another one
        has come after it, the message is stored behind that one: compare `previous_id`. `nonce` names this
        write: one whose outcome was lost is repeated with the same (`is_again`) and stored once.
        """
        nonce = nonce or uuid4()
        if is_again and (row := await self._stored(conversation_id, nonce)) is not None:
            return Question(int(row.id), conversation_id, row.previous_id)
        if follows is not None:
            values = {"conversation_id": conversation_id, "role": "user", "content": content, "kind": kind}
            message_id = await self._add_after(follows, _ONLY_ANSWERS | values | {"nonce": nonce})
            if message_id is not None:
                return Question(message_id, conversation_id, follows)

        async def insert(connection: AsyncConnection) -> Question:
            return await insert_question(
                connection,
                user_id=user_id,
                conversation_id=conversation_id,
                content=content,
                kind=kind,
                is_new=is_new,
                tenants=tenants,
                nonce=nonce,
            )

        stored = await self._retried(insert, conversation_id, nonce)
        if isinstance(stored, Question):
            return stored
        return Question(int(stored.id), conversation_id, stored.previous_id)

    async def add_answer(
        self, question: Question, answer: Answer, *, nonce: UUID | None = None, is_again: bool = False
    ) -> StoredAnswer:
        """Store an answer at the end; `NotFound` if the conversation was deleted meanwhile.

        `nonce` and `is_again` as in `add_question`.
        """
        nonce = nonce or uuid4()
        home = question.conversation_id
        if is_again and (row := await self._stored(home, nonce)) is not None:
            return StoredAnswer(int(row.id), is_next=row.previous_id == question.id)
        values = {"conversation_id": home, "role": "assistant", **asdict(answer), "nonce": nonce}
        message_id = await self._add_after(question.id, values)
        if message_id is not None:
            return StoredAnswer(message_id, is_next=True)

        async def add_last(connection: AsyncConnection) -> sa.Row[Any]:
            row = (
                await connection.execute(_ANSWER_LAST, values | {"question_id": question.id})
            ).one_or_none()
            if row is None:
                raise NotFound(_DELETED)
            return row

        return StoredAnswer(int((await self._retried(add_last, home, nonce)).id), is_next=False)

    async def withdraw(self, question: Question, holder: UUID | None = None) -> bool:
        """Take back a question that nobody began to answer, and the conversation where it is the only
        message.

        With `holder` its idempotency key is free again too, if that lease is still the one. Returns
        whether it was taken back: one that has a successor stays.
        """
        values = {"id": question.id, "conversation_id": question.conversation_id, "holder": holder}
        with storage():
            async with self._engine.connect() as connection:
                return (await connection.execute(_WITHDRAW, values)).one_or_none() is not None

    async def _add_after(self, previous_id: int, values: dict[str, Any]) -> int | None:
        """Store a message behind `previous_id`; None when that one has a successor already."""
        try:
            with storage():
                row = await self.writer.add({**values, "previous_id": previous_id})
        except exc.IntegrityError as error:
            state = getattr(error.orig, "sqlstate", None)
            if state == _UNIQUE:
                # Its successor may be this very row, of a write whose answer was lost.
                own = await self._stored(values["conversation_id"], values["nonce"])
                return int(own.id) if own is not None and own.previous_id == previous_id else None
            if state == _FOREIGN_KEY:
                raise NotFound(_DELETED) from error
            raise
        assert row is not None  # noqa: S101 - the writer returns what `returning` names
        return int(row["id"])

    async def _stored(self, conversation_id: UUID, nonce: UUID) -> sa.Row[Any] | None:
        """What an earlier try of the write `nonce` has stored."""
        values = {"conversation_id": conversation_id, "nonce": nonce}
        with storage():
            async with self._engine.connect() as connection:
                return (await connection.execute(_STORED, values)).one_or_none()

    async def _retried(
        self,
        write: Callable[[AsyncConnection], Awaitable[Stored]],
        conversation_id: UUID,
        nonce: UUID,
    ) -> Stored | sa.Row[Any]:
        """Write at the end of a conversation, again when another writer was there first: perhaps
        ourselves.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                with storage():
                    async with self._engine.connect() as connection:
                        return await write(connection)
            except exc.IntegrityError as error:
                if getattr(error.orig, "sqlstate", None) != _UNIQUE or attempt == _TRIES:
                    raise
                if (row := await self._stored(conversation_id, nonce)) is not None:
                    return row
        raise AssertionError("the loop returns or raises")

    async def recent(
        self, conversation_id: UUID, *, before_id: int | None, limit: int
    ) -> list[StoredMessage]:
        """Return up to `limit` messages older than `before_id` (all when None), oldest first."""
        query = sa.select(*_SHOWN).where(
            (messages.c.conversation_id == conversation_id) & ~messages.c.taken_back
        )
        if before_id is not None:
            query = query.where(messages.c.id < before_id)
        rows = await self._rows(query.order_by(messages.c.id.desc()).limit(limit))
        return [StoredMessage(**row._mapping) for row in reversed(rows)]

    async def conversation(
        self, conversation_id: UUID, owner: Owner, limit: int, before: int | None = None
    ) -> Conversation:
        """Return a conversation with its last `limit` messages (of those older than `before`)."""
        query = sa.select(_SUMMARIES).where((_SUMMARIES.c.id == conversation_id) & is_of(_SUMMARIES, owner))
        rows = await self._rows(query)
        if not rows:
            raise NotFound(_GONE)
        return Conversation(
            _summary(rows[0]), await self.recent(conversation_id, before_id=before, limit=limit)
        )

    async def of_user(
        self, owner: Owner, limit: int, after: Cursor | None = None, search: str | None = None
    ) -> list[ConversationSummary]:
        """Return the owner's conversations that hold `search`, the most recently used first, from behind
        `after`.
        """
        query = sa.select(_SUMMARIES).where(is_of(_SUMMARIES, owner))
        if search:
            query = query.where(holds(_SUMMARIES, search))
        if after is not None:
            last = sa.tuple_(_SUMMARIES.c.updated_at, _SUMMARIES.c.id)
            query = query.where(last < sa.tuple_(after.updated_at, after.id))
        newest = (_SUMMARIES.c.updated_at.desc(), _SUMMARIES.c.id.desc())
        rows = await self._rows(query.order_by(*newest).limit(limit))
        return [_summary(row) for row in rows]

    async def delete(self, conversation_id: UUID, owner: Owner) -> None:
        """Delete a conversation with its messages."""
        query = sa.delete(conversations).where(
            (conversations.c.id == conversation_id) & is_of(conversations, owner)
        )
        await self._changed(query.returning(conversations.c.id))

    async def rename(self, conversation_id: UUID, owner: Owner, title: str) -> None:
        """Give a conversation a title."""
        await self._changed(rename(conversation_id, owner, title))

    async def take_back(self, conversation_id: UUID, owner: Owner, message_id: int) -> None:
        """Take back a message and all that follow it."""
        await self._changed(take_back(conversation_id, owner, message_id))

    async def _changed(self, query: Any) -> None:
        if not await self._rows(query):
            raise NotFound(_GONE)

    async def _rows(self, query: Any) -> Sequence[sa.Row[Any]]:
        with storage():
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).all()


def _summary(row: sa.Row[Any]) -> ConversationSummary:
    created: datetime = row.created_at
    return ConversationSummary(row.id, row.user_id, row.title, created, row.updated_at)
