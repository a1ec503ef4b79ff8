"""A place in the queue comes before a row: what is refused leaves nothing (service.md 2 and 8, llm.md 21)."""

import asyncio
from collections import Counter

import httpx
import pytest
import sqlalchemy as sa

from tests.cases.service_engine import ScriptedEngine, serving
from tests.servers.sentinel import Running, eventually, running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


_ROLES = sa.text("SELECT role, count(*) AS n FROM messages GROUP BY role")


async def roles(found: Running) -> Counter[str]:
    """How many questions and answers are stored in all."""
    async with found.db.get_session() as session:
        rows = await session.execute(_ROLES)
        return Counter({row.role: row.n for row in rows})


async def test_in_a_burst_nobody_is_stored_and_refused(postgres_url: str) -> None:
    engine = ScriptedEngine()
    async with serving(engine) as url, running(postgres_url, None, url) as found:
        engine.go.clear()  # so that the queue is full when the last ones come

        async def ask(number: int) -> httpx.Response:
            body = {"user_id": f"u{number}", "message": "hello there", "deadline_s": 60}
            path = "/chat/stream" if number % 2 else "/chat"
            return await found.client.post(path, json=body, timeout=60)

        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=found.client.base_url, limits=limits) as client:
            found.client, kept = client, found.client
            asking = [asyncio.create_task(ask(number)) for number in range(300)]

            async def some_are_refused() -> bool:
                return sum(task.done() for task in asking) >= 20

            await eventually(some_are_refused, within_s=60)
            engine.go.set()
            answers = await asyncio.gather(*asking)
            found.client = kept
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {200, 503}
        assert all(int(a.headers["retry-after"]) >= 1 for a in answers if a.status_code == 503)
        assert "event: error" not in "".join(answer.text for answer in answers)
        stored = await roles(found)
        assert stored == {"user": statuses[200], "assistant": statuses[200]}


async def test_a_repeated_request_that_was_answered_needs_no_engine(postgres_url: str) -> None:
    headers = {"Idempotency-Key": "k"}
    async with running(postgres_url, None, "http://127.0.0.1:9") as found:
        engine = ScriptedEngine()
        async with serving(engine) as url, running(postgres_url, None, url) as alive:
            first = (await alive.chat("hi", headers=headers)).json()
        again = await found.chat("hi", headers=headers)
        assert again.status_code == 200
        assert (again.json()["answer"], again.json()["cached"]) == (first["answer"], True)
        assert (await found.chat("other", headers=headers)).status_code == 503
        assert (await found.chat("hi", headers={"Idempotency-Key": "l"})).status_code == 503


async def test_a_question_that_no_engine_began_to_answer_is_taken_back(postgres_url: str) -> None:
    engine = ScriptedEngine()
    async with serving(engine) as url, running(postgres_url, None, url) as found:
        kept = (await found.chat("one")).json()["conversation_id"]
        engine.go.clear()
        late = await found.chat("two", conversation_id=kept, deadline_s=0.5)
        keyed = await found.chat("three", headers={"Idempotency-Key": "k"}, deadline_s=0.5)
        assert (late.status_code, keyed.status_code) == (503, 503)
        await found.system.assistant.drain()
        assert await roles(found) == {"user": 1, "assistant": 1}
        engine.go.set()
        # Asked again, as told: one question each, and the key is free.
        assert (await found.chat("two", conversation_id=kept)).status_code == 200
        assert (await found.chat("three", headers={"Idempotency-Key": "k"})).status_code == 200
        assert await roles(found) == {"user": 3, "assistant": 3}
        assert [s.queue.reserved for s in found.sentinel.dispatcher.stations] == [0]


async def test_a_second_message_hears_something_while_the_first_is_answered(postgres_url: str) -> None:
    engine = ScriptedEngine()
    async with serving(engine) as url, running(postgres_url, None, url) as found:
        found.system.assistant._accept_after_s = 0.2
        conversation = (await found.chat("one")).json()["conversation_id"]
        engine.go.clear()
        first = asyncio.create_task(found.chat("two", conversation_id=conversation))

        async def is_asked() -> bool:
            return engine.inflight == 1

        await eventually(is_asked, within_s=20)
        body = {"user_id": "ana", "message": "three", "conversation_id": conversation}
        async with found.client.stream("POST", "/chat/stream", json=body) as second:
            assert second.status_code == 200
            assert second.headers["x-conversation-id"] == conversation
            chunks = second.aiter_text()
            assert (await anext(chunks)).startswith(": accepted")
            assert not first.done()
            engine.go.set()
            assert "event: done" in "".join([chunk async for chunk in chunks])
        assert (await first).status_code == 200
        # A stranger still gets a status, at once: turns are their owner's.
        assert (await found.chat("x", user_id="eve", conversation_id=conversation)).status_code == 404


async def test_the_place_of_a_caller_who_leaves_is_free_again(postgres_url: str) -> None:
    engine = ScriptedEngine()
    async with serving(engine) as url, running(postgres_url, None, url) as found:
        engine.go.clear()
        asking = [asyncio.create_task(found.chat("one", user_id=f"u{n}")) for n in range(20)]

        async def is_asked() -> bool:
            return engine.inflight >= 1

        await eventually(is_asked, within_s=20)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

        async def is_empty() -> bool:
            (station,) = found.sentinel.dispatcher.stations
            return station.queue.reserved == 0 and len(station.queue) == 0 and station.inflight == 0

        await eventually(is_empty, within_s=20)
