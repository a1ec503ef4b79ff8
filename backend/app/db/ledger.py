"""Idempotent requests: one key, one stored message, one answer, also across replicas and crashes."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.failures import KeyReused, NotFound, StillAnswering

from .conversations import Answer, Question, StoredAnswer, insert_question
from .failures import storage
from .leases import LEASE_S, RENEW_S, Lease, Leases
from .schema import messages, requests


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key stands for: a question to answer now under `lease`, or the answer it already got."""

    question: Question
    answer: Answer | None
    lease: Lease | None


def fingerprint(message: str, conversation_id: UUID | None) -> bytes:
    """Return what must be equal for a repeated key: 32 bytes."""
    return hashlib.sha256(f"{conversation_id}\x00{message}".encode()).digest()


# The server's clock as it is, not as it was when the transaction began to wait for the lock.
_now = sa.func.clock_timestamp(type_=sa.DateTime(timezone=True))
_SELECT = sa.select(
    requests,
    (requests.c.answering_until > _now).label("is_claimed"),
    sa.func.extract("epoch", requests.c.answering_until - _now).label("claimed_s"),
)
# One statement, so a crash leaves the answer and its note or neither. Who does not hold the lease any more
# changes nothing. The conversation is locked first, in the order in which its deletion locks.
_SETTLE = sa.text(
    """
    WITH home AS (
        SELECT id FROM conversations WHERE id = :conversation_id FOR KEY SHARE
    ), mine AS (
        UPDATE requests r
        SET answer_id = nextval(pg_get_serial_sequence('messages', 'id')), answering_until = clock_timestamp()
        FROM home
        WHERE r.tenant = :tenant AND r.user_id = :user_id AND r.idempotency_key = :key
          AND r.conversation_id = home.id
          AND r.holder = :holder AND r.answer_id IS NULL
        RETURNING r.answer_id, r.conversation_id
    )
    INSERT INTO messages (id, conversation_id, previous_id, role, content, kind, model, finish_reason,
                          ttft_ms, total_ms, output_tokens)
    OVERRIDING SYSTEM VALUE
    SELECT answer_id, conversation_id,
           (SELECT max(m.id) FROM messages m WHERE m.conversation_id = mine.conversation_id),
           'assistant', :content, :kind, :model, :finish_reason, :ttft_ms, :total_ms, :output_tokens
    FROM mine
    RETURNING id, previous_id
    """
)
_UNIQUE = "23505"
# Writers that meet again and again at the end of one conversation give up after so many tries.
_TRIES = 5


class RequestLedger:
    """Gives a key to one request at a time, for as long as its replica shows that it lives."""

    def __init__(self, engine: AsyncEngine, *, lease_s: float = LEASE_S, renew_s: float = RENEW_S) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.leases = Leases(engine, lease_s=lease_s, renew_s=renew_s)

    async def close(self) -> None:
        """Renew nothing any more. Idempotent."""
        await self.leases.close()

    async def claim(
        self,
        *,
        user_id: str,
        key: str,
        message: str,
        kind: str,
        conversation_id: UUID | None,
        fresh_id: UUID,
        tenants: Sequence[str] = ("",),
        holder: UUID | None = None,
    ) -> Claim:
        """Store the message under `key`, or find what an earlier request with it did.

        A claim with a lease is to be ended by `settle` or `release`. Raises `KeyReused` when the key stands
        for another message, `StillAnswering` while another request holds the lease, `NotFound` when the
        conversation is not the user's. `holder` names this claim: one whose outcome was lost is repeated with
        the same.
        """
        mark = fingerprint(message, conversation_id)
        lease = Lease(user_id, key, holder or uuid4(), tenants[0])
        held = {
            "holder": lease.holder,
            "answering_until": _now + timedelta(seconds=self.leases.lease_s),
        }
        with storage():
            async with self._engine.begin() as connection:
                # Two first requests with one key would both see no row: the lock lets one wait.
                await connection.execute(
                    sa.select(
                        sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"{user_id}\x01{key}", 0))
                    )
                )
                # An answer that is being stored now is waited for: it may still be the one.
                found = await connection.execute(_of(user_id, key, tenants).with_for_update())
                row = found.first()
                if row is None:
                    question = await insert_question(
                        connection,
                        user_id=user_id,
                        conversation_id=conversation_id or fresh_id,
                        content=message,
                        kind=kind,
                        is_new=conversation_id is None,
                        tenants=tenants,
                    )
                    await connection.execute(
                        sa.insert(requests).values(
                            tenant=lease.tenant,
                            user_id=user_id,
                            idempotency_key=key,
                            fingerprint=mark,
                            conversation_id=question.conversation_id,
                            message_id=question.id,
                            **held,
                        )
                    )
                else:
                    lease = replace(lease, tenant=row.tenant)
                    answer = await _earlier(connection, row, mark, lease.holder)
                    question = await _question(connection, row.conversation_id, row.message_id)
                    if answer is not None:
                        return Claim(question, answer, None)
                    await connection.execute(sa.update(requests).where(_is(lease)).values(**held))
        self.leases.hold(lease)
        return Claim(question, None, lease)

    async def answered(
        self,
        *,
        user_id: str,
        key: str,
        message: str,
        conversation_id: UUID | None,
        tenants: Sequence[str] = ("",),
    ) -> Claim | None:
        """Return the answer that the key has; None while it has none. Raises `KeyReused`, claims nothing."""
        with storage():
            async with self._autocommit.connect() as connection:
                row = (await connection.execute(_of(user_id, key, tenants))).first()
                if row is None:
                    return None
                _check_mark(row, fingerprint(message, conversation_id))
                if row.answer_id is None:
                    return None
                answer = await _answer(connection, row.answer_id)
                return Claim(Question(row.message_id, row.conversation_id, None), answer, None)

    async def settle(self, lease: Lease, question: Question, answer: Answer) -> StoredAnswer:
        """Store the answer under its key.

        Raises `StillAnswering` when the lease ran out and another request answers or has answered: nothing
        is stored then. `NotFound` when the conversation was deleted meanwhile.
        """
        values = {
            "conversation_id": question.conversation_id,
            "tenant": lease.tenant,
            "user_id": lease.user_id,
            "key": lease.key,
            "holder": lease.holder,
            **asdict(answer),
        }
        stored = await self._stored(values, question)
        self.leases.drop(lease)
        if stored is not None:
            return stored
        with storage():
            async with self._autocommit.connect() as connection:
                row = (await connection.execute(sa.select(requests).where(_is(lease)))).one_or_none()
                if row is not None and row.holder == lease.holder and row.answer_id is not None:
                    # It is ours: the first try went through, and its reply was lost.
                    before = sa.select(messages.c.previous_id).where(messages.c.id == row.answer_id)
                    previous_id = (await connection.execute(before)).scalar_one_or_none()
                    return StoredAnswer(int(row.answer_id), is_next=previous_id == question.id)
        if row is None:
            raise NotFound("The conversation was deleted while it was answered.")
        raise StillAnswering(
            "Another request with this Idempotency-Key took over while this one stood still: "
            "ask again with the same key.",
            retry_after_s=1.0,
        )

    async def release(self, lease: Lease) -> None:
        """Give the key back without an answer. One that was answered or taken over stays as it is."""
        self.leases.drop(lease)
        change = (
            sa.update(requests)
            .where(_is(lease) & (requests.c.holder == lease.holder) & requests.c.answer_id.is_(None))
            .values(holder=None, answering_until=_now)
        )
        with storage():
            async with self._autocommit.connect() as connection:
                await connection.execute(change)

    async def _stored(self, values: dict[str, Any], question: Question) -> StoredAnswer | None:
        """Store it, or None without the lease; again when another writer was first."""
        for attempt in range(1, _TRIES + 1):
            try:
                with storage():
                    async with self._autocommit.connect() as connection:
                        row = (await connection.execute(_SETTLE, values)).one_or_none()
                        if row is None:
                            return None
                        return StoredAnswer(int(row.id), is_next=row.previous_id == question.id)
            except exc.IntegrityError as error:
                if getattr(error.orig, "sqlstate", None) != _UNIQUE or attempt == _TRIES:
                    raise
        raise AssertionError("the loop returns or raises")


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    own = (requests.c.user_id == lease.user_id) & (requests.c.idempotency_key == lease.key)
    return own & (requests.c.tenant == lease.tenant)


def _of(user_id: str, key: str, tenants: Sequence[str]) -> sa.Select[Any]:
    """What the key stands for; a row of the tenant itself before one of nobody's."""
    own = (requests.c.user_id == user_id) & (requests.c.idempotency_key == key)
    return _SELECT.where(own & requests.c.tenant.in_(tenants)).order_by(requests.c.tenant.desc()).limit(1)


def _check_mark(row: sa.Row[Any], mark: bytes) -> None:
    if row.fingerprint != mark:
        raise KeyReused("This Idempotency-Key was used for another message: send a new one.")


async def _earlier(connection: AsyncConnection, row: sa.Row[Any], mark: bytes, holder: UUID) -> Answer | None:
    """The answer of an earlier request, or None when it is ours to give."""
    _check_mark(row, mark)
    if row.answer_id is not None:
        return await _answer(connection, row.answer_id)
    if row.is_claimed and row.holder != holder:
        # When the replica that answers is dead, this is when the key is free.
        raise StillAnswering(
            "The same request is being answered: ask again in a moment.",
            retry_after_s=max(0.1, float(row.claimed_s)),
        )
    return None


async def _question(connection: AsyncConnection, conversation_id: UUID, message_id: int) -> Question:
    query = sa.select(sa.func.max(messages.c.id)).where(
        (messages.c.conversation_id == conversation_id) & (messages.c.id < message_id)
    )
    return Question(message_id, conversation_id, (await connection.execute(query)).scalar_one())


async def _answer(connection: AsyncConnection, answer_id: int) -> Answer:
    row = (await connection.execute(sa.select(messages).where(messages.c.id == answer_id))).one()
    return Answer(
        content=row.content,
        kind=row.kind or "short",
        model=row.model or "",
        finish_reason=row.finish_reason or "stop",
        ttft_ms=row.ttft_ms or 0.0,
        total_ms=row.total_ms or 0.0,
        output_tokens=row.output_tokens or 0,
    )
