"""What dies and comes back within a request's deadline is waited for, not told (issue 16, one step
further).
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import embedded
from tests.cases.service_engine import ScriptedEngine, serving
from tests.servers.sentinel import Running, running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

PEOPLE, MESSAGES, KILLS = 8, 6, 1


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[embedded.Postgres]:
    """One that a test may kill."""
    server = embedded.Postgres(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.forget()


async def talk(found: Running, name: str, told: Counter[str]) -> None:
    """One person's messages in one conversation, every third one with a key."""
    conversation: dict[str, str] = {}
    for number in range(MESSAGES):
        headers = {"Idempotency-Key": f"{name}-{number}"} if number % 3 == 0 else {}
        answer = await found.chat(f"{name} {number}", user_id=name, headers=headers, **conversation)
        body = answer.json()
        told["answered" if answer.status_code == 200 else body["error"]["code"]] += 1
        conversation = {"conversation_id": body.get("conversation_id", conversation.get("conversation_id"))}


async def test_the_death_of_postgresql_is_waited_for(own_postgres: embedded.Postgres) -> None:
    engine = ScriptedEngine(pause_s=0.02)
    async with serving(engine) as url, running(own_postgres.url(), None, url) as found:
        told: Counter[str] = Counter()
        people = [asyncio.create_task(talk(found, f"p{number}", told)) for number in range(PEOPLE)]
        for kill in range(KILLS):
            while told.total() < (kill + 1) * PEOPLE * MESSAGES // (KILLS + 1):  # noqa: ASYNC110 - a count
                await asyncio.sleep(0.01)
            assert own_postgres.child is not None
            await asyncio.to_thread(own_postgres.child.kill)
            await asyncio.to_thread(own_postgres.start_again)
        await asyncio.gather(*people)
        assert told == {"answered": PEOPLE * MESSAGES}
        async with found.db.get_session() as session:
            rows = (await session.execute(_STORED)).all()
        # Each question once, and an answer behind each.
        assert Counter(row.role for row in rows) == {
            "user": PEOPLE * MESSAGES,
            "assistant": PEOPLE * MESSAGES,
        }
        asked = Counter(row.content for row in rows if row.role == "user")
        assert set(asked.values()) == {1}


_STORED = sa.text("SELECT role, content FROM messages")
