"""Idempotent requests: one key, one stored message, one answer, also across replicas and crashes."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.failures import KeyReused, StillAnswering

from .conversations import Answer, Question, insert_question
from .failures import storage
from .schema import messages, requests


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key stands for: a question to answer now, or the answer it already got."""

    question: Question
    answer: Answer | None


def fingerprint(message: str, conversation_id: UUID | None) -> bytes:
    """Return what must be equal for a repeated key: 32 bytes."""
    return hashlib.sha256(f"{conversation_id}\x00{message}".encode()).digest()


_SELECT = sa.select(
    requests,
    (requests.c.answering_until > sa.func.now()).label("is_claimed"),
    sa.func.extract("epoch", requests.c.answering_until - sa.func.now()).label("claimed_s"),
)


class RequestLedger:
    """Claims a key for the time an answer may take; a claim that ran out can be taken over."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(
        self,
        *,
        user_id: str,
        key: str,
        message: str,
        kind: str,
        conversation_id: UUID | None,
        fresh_id: UUID,
        patience_s: float,
    ) -> Claim:
        """Store the message under `key`, or find what an earlier request with it did.

        Raises `KeyReused` when the key stands for another message, `StillAnswering` while another
        request holds the claim, `NotFound` when the conversation is not the user's.
        """
        mark = fingerprint(message, conversation_id)
        until = sa.func.now() + timedelta(seconds=patience_s)
        where = (requests.c.user_id == user_id) & (requests.c.idempotency_key == key)
        with storage():
            async with self._engine.begin() as connection:
                # Two first requests with one key would both see no row: the lock lets one wait.
                await connection.execute(
                    sa.select(
                        sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"{user_id}\x01{key}", 0))
                    )
                )
                row = (await connection.execute(_SELECT.where(where))).one_or_none()
                if row is None:
                    question = await insert_question(
                        connection,
                        user_id=user_id,
                        conversation_id=conversation_id or fresh_id,
                        content=message,
                        kind=kind,
                        is_new=conversation_id is None,
                    )
                    await connection.execute(
                        sa.insert(requests).values(
                            user_id=user_id,
                            idempotency_key=key,
                            fingerprint=mark,
                            conversation_id=question.conversation_id,
                            message_id=question.id,
                            answering_until=until,
                        )
                    )
                    return Claim(question, None)
                if row.fingerprint != mark:
                    raise KeyReused("This Idempotency-Key was used for another message: send a new one.")
                question = await _question(connection, row.conversation_id, row.message_id)
                if row.answer_id is not None:
                    return Claim(question, await _answer(connection, row.answer_id))
                if row.is_claimed:
                    raise StillAnswering(
                        "The same request is being answered: ask again in a moment.",
                        retry_after_s=min(5.0, max(1.0, float(row.claimed_s))),
                    )
                await connection.execute(sa.update(requests).where(where).values(answering_until=until))
                return Claim(question, None)

    async def settle(self, user_id: str, key: str, answer_id: int | None) -> None:
        """Note the answer, or give the claim back when there is none."""
        where = (requests.c.user_id == user_id) & (requests.c.idempotency_key == key)
        change = sa.update(requests).where(where).values(answer_id=answer_id, answering_until=sa.func.now())
        with storage():
            async with self._engine.begin() as connection:
                await connection.execute(change)


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
