"""V1's rows: SQLAlchemy sessions on an async engine with its default pool of 5 + 10."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.core.failures import NotFound, StorageUnavailable
from app.core.ports import Conversation, ConversationSummary, StoredMessage

from .prompt import Fragment

_metadata = sa.MetaData()
_now = sa.text("now()")
_stamp = sa.DateTime(timezone=True)
_conversations = sa.Table(
    "conversations",
    _metadata,
    sa.Column("id", PG_UUID(as_uuid=True), primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("created_at", _stamp, nullable=False, server_default=_now),
    sa.Column("updated_at", _stamp, nullable=False, server_default=_now),
    sa.Index("ix_conversations_user", "user_id", "updated_at"),
)
_messages = sa.Table(
    "messages",
    _metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column(
        "conversation_id",
        PG_UUID(as_uuid=True),
        sa.ForeignKey("conversations.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("created_at", _stamp, nullable=False, server_default=_now),
    sa.Index("ix_messages_conversation", "conversation_id", "id"),
)
_GONE = "There is no such conversation for this user."


class StaticStore:
    """Conversations and messages. One session a step; none is held while tokens flow."""

    def __init__(self, database_url: str, *, pool_size: int = 0) -> None:
        """`pool_size` connections and none above; 0: SQLAlchemy's default of 5 and 10 more."""
        sizes = {"pool_size": pool_size, "max_overflow": 0} if pool_size else {}
        self.engine = create_async_engine(database_url, **sizes)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    async def open(self) -> None:
        """Make the tables where they are missing."""
        async with self.engine.begin() as connection:
            await connection.run_sync(_metadata.create_all)

    async def close(self) -> None:
        """Close the pool."""
        await self.engine.dispose()

    async def add_question(self, user_id: str, conversation_id: UUID, text: str, *, is_new: bool) -> None:
        """Store a user's message, with its conversation when that is new."""
        async with self._session() as session, session.begin():
            if is_new:
                title = " ".join(text.split())[:80]
                row = {"id": conversation_id, "user_id": user_id, "title": title}
                await session.execute(sa.insert(_conversations).values(row))
            else:
                touched = await session.execute(
                    sa.update(_conversations)
                    .where(_conversations.c.id == conversation_id, _conversations.c.user_id == user_id)
                    .values(updated_at=_now)
                    .returning(_conversations.c.id)
                )
                if touched.one_or_none() is None:
                    raise NotFound(_GONE)
            await self._insert(session, conversation_id, "user", text)

    async def add_answer(self, conversation_id: UUID, text: str) -> None:
        """Store what was answered."""
        async with self._session() as session, session.begin():
            await self._insert(session, conversation_id, "assistant", text)

    async def fragments(self, conversation_id: UUID, count: int) -> list[Fragment]:
        """The last `count` whole exchanges, oldest first; a question without answer is left out."""
        rows = await self._recent(conversation_id, 2 * count + 1)
        found: list[Fragment] = []
        for first, second in zip(rows, rows[1:], strict=False):  # noqa: RUF007 - rows is a list
            if first.role == "user" and second.role == "assistant":
                found.append(Fragment(first.content, second.content))
        return found[-count:]

    async def conversation(self, conversation_id: UUID, user_id: str | None, limit: int) -> Conversation:
        query = sa.select(_conversations).where(_conversations.c.id == conversation_id)
        if user_id is not None:
            query = query.where(_conversations.c.user_id == user_id)
        async with self._session() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise NotFound(_GONE)
        return Conversation(_summary(row), await self._recent(conversation_id, limit))

    async def of_user(self, user_id: str, limit: int) -> list[ConversationSummary]:
        query = sa.select(_conversations).where(_conversations.c.user_id == user_id)
        async with self._session() as session:
            rows = await session.execute(query.order_by(_conversations.c.updated_at.desc()).limit(limit))
            return [_summary(row) for row in rows]

    async def delete(self, conversation_id: UUID, user_id: str | None) -> None:
        query = sa.delete(_conversations).where(_conversations.c.id == conversation_id)
        if user_id is not None:
            query = query.where(_conversations.c.user_id == user_id)
        async with self._session() as session, session.begin():
            gone = await session.execute(query.returning(_conversations.c.id))
            if gone.one_or_none() is None:
                raise NotFound(_GONE)

    async def check(self) -> None:
        """Raises `StorageUnavailable` when PostgreSQL does not answer."""
        async with self._session() as session:
            await session.execute(sa.text("SELECT 1"))

    async def _recent(self, conversation_id: UUID, limit: int) -> Sequence[StoredMessage]:
        columns = (_messages.c.id, _messages.c.role, _messages.c.content, _messages.c.created_at)
        query = sa.select(*columns).where(_messages.c.conversation_id == conversation_id)
        async with self._session() as session:
            rows = (await session.execute(query.order_by(_messages.c.id.desc()).limit(limit))).all()
        return [StoredMessage(row.id, row.role, row.content, row.created_at) for row in reversed(rows)]

    @staticmethod
    async def _insert(session: AsyncSession, conversation_id: UUID, role: str, text: str) -> None:
        values = {"conversation_id": conversation_id, "role": role, "content": text}
        await session.execute(sa.insert(_messages).values(values))

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncSession]:
        """A session whose losses carry the name that the HTTP layer knows."""
        try:
            async with self._sessions() as session:
                yield session
        except exc.TimeoutError as error:
            raise StorageUnavailable("No database connection became free in time.") from error
        except (exc.InterfaceError, exc.OperationalError, OSError) as error:
            raise StorageUnavailable("PostgreSQL does not answer.") from error


def _summary(row: sa.Row[tuple[object, ...]]) -> ConversationSummary:
    return ConversationSummary(row.id, row.user_id, row.title, row.created_at, row.updated_at)
