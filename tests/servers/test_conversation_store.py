"""What the rows of a conversation cost, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import sqlalchemy as sa

from app.db.conversations import Answer, ConversationStore, Question
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.db.migrate import migrate

pytestmark = pytest.mark.anyio
ANSWER = Answer("an answer", "short", "m", "stop", 1.0, 2.0, 3)


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[DynamicPostgreSQLSession]:
    db = DynamicPostgreSQLSession(postgres_url)
    await migrate(db.engine)
    yield db
    await db.close()


async def opened(store: ConversationStore) -> Question:
    return await store.add_question(
        user_id="ana", conversation_id=uuid4(), content="one", kind="short", is_new=True
    )


async def followed(store: ConversationStore, last: Question) -> Question:
    return await store.add_question(
        user_id="ana",
        conversation_id=last.conversation_id,
        content="two",
        kind="short",
        is_new=False,
        follows=last.id,
    )


async def test_questions_and_answers_that_meet_are_one_statement(db: DynamicPostgreSQLSession) -> None:
    store = ConversationStore(db.engine)
    begun = [await opened(store) for _ in range(20)]
    statements: list[str] = []

    @sa.event.listens_for(db.engine.sync_engine, "before_cursor_execute")
    def seen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    @sa.event.listens_for(db.engine.sync_engine, "commit")
    def committed(_connection: object) -> None:
        statements.append("COMMIT")

    writes = [
        followed(store, last) if number % 2 else store.add_answer(last, ANSWER)
        for number, last in enumerate(begun)
    ]
    await asyncio.gather(*writes)
    assert len([text for text in statements if text.startswith("INSERT")]) <= 2
    # All around it is a transaction that bounds the waits for locks.
    others = [text for text in statements if not text.startswith("INSERT")]
    assert all(text == "COMMIT" or "lock_timeout" in text for text in others)
    await store.close()


async def test_an_answer_tells_whether_it_stands_behind_its_question(db: DynamicPostgreSQLSession) -> None:
    store = ConversationStore(db.engine)
    question = await opened(store)
    assert (await store.add_answer(question, ANSWER)).is_next
    overtaken = await opened(store)
    between = await followed(store, overtaken)
    answer = await store.add_answer(overtaken, ANSWER)
    assert not answer.is_next
    rows = await store.recent(overtaken.conversation_id, before_id=None, limit=10)
    assert [row.id for row in rows] == [overtaken.id, between.id, answer.id]
    await store.close()
