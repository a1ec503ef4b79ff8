"""A history is what PostgreSQL holds, wherever it was found and whoever answered meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import sqlalchemy as sa

import embedded
from tests.servers.sentinel import Running, eventually, running

pytestmark = pytest.mark.anyio
Said = list[tuple[str, str]]


@pytest.fixture
async def replicas(
    postgres_url: str, redis_url: str, synthetic_engine: embedded.Engine
) -> AsyncIterator[tuple[Running, Running]]:
    async with (
        running(postgres_url, redis_url, synthetic_engine.url) as one,
        running(postgres_url, redis_url, synthetic_engine.url) as other,
    ):
        yield one, other


async def stored(replica: Running, conversation: str) -> Said:
    query = sa.text("SELECT role, content FROM messages WHERE conversation_id = :id ORDER BY id")
    async with replica.db.get_session() as session:
        rows = await session.execute(query, {"id": UUID(conversation)})
    return [(row.role, row.content) for row in rows]


async def known(replica: Running, conversation: str) -> Said:
    """What the replica would put in front of the next question, if nothing comes between."""
    found = await replica.system.assistant.history.known(UUID(conversation), "ana")
    return [] if found is None else [(turn.role, turn.content) for turn in found.turns]


async def flushed(replica: Running) -> None:
    await replica.system.assistant.history.flush()


def found(replica: Running) -> list[int]:
    return list(replica.system.assistant.history.found.values())


def overtaken(replica: Running) -> list[int]:
    return list(replica.system.assistant.history.overtaken.values())


async def begun(replica: Running) -> str:
    return str((await replica.chat("one")).json()["conversation_id"])


async def test_a_turn_that_memory_knows_is_two_statements_and_no_look_into_redis(
    replicas: tuple[Running, Running],
) -> None:
    one, _ = replicas
    conversation = await begun(one)
    statements: list[str] = []

    @sa.event.listens_for(one.db.engine.sync_engine, "before_cursor_execute")
    def seen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "timings" not in statement:  # written behind
            statements.append(statement.split("(", maxsplit=1)[0].strip())

    await one.chat("two", conversation_id=conversation)
    assert statements == ["INSERT INTO messages"] * 2
    counts = one.cache.stats()
    assert (counts.hits, counts.misses) == (0, 0)


async def test_redis_has_it_for_the_replica_that_did_not_answer(replicas: tuple[Running, Running]) -> None:
    one, other = replicas
    conversation = await begun(one)
    await flushed(one)
    await other.chat("two", conversation_id=conversation)
    assert (found(other), overtaken(other)) == ([0, 1, 0], [0, 0])
    await flushed(other)
    await one.chat("three", conversation_id=conversation)
    assert (found(one), overtaken(one)) == ([0, 1, 0], [1, 0])
    assert await known(one, conversation) == await stored(one, conversation)


async def test_postgresql_has_it_where_redis_was_overtaken_too(replicas: tuple[Running, Running]) -> None:
    one, other = replicas
    conversation = await begun(one)
    key = f"history:{conversation}"
    await flushed(one)
    old = await one.cache.get(key)
    await other.chat("two", conversation_id=conversation)
    await flushed(other)
    await one.cache.set(key, old)
    await one.chat("three", conversation_id=conversation)
    assert (found(one), overtaken(one)) == ([0, 0, 1], [1, 1])
    assert await known(one, conversation) == await stored(one, conversation)
    await flushed(one)
    await one.cache.delete(key)
    await other.chat("four", conversation_id=conversation)
    assert (found(other), overtaken(other)) == ([0, 1, 1], [1, 0])
    assert await known(other, conversation) == await stored(other, conversation)


async def test_questions_on_two_replicas_at_once_leave_no_gap(replicas: tuple[Running, Running]) -> None:
    one, other = replicas
    conversation = await begun(one)
    for turn in range(2):
        asked = [replica.chat(f"{turn}", conversation_id=conversation) for replica in replicas]
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        await flushed(one)
        await flushed(other)
        await one.chat("alone", conversation_id=conversation)
        assert await known(one, conversation) == await stored(one, conversation)


async def test_replicas_that_take_turns_ask_redis_first(replicas: tuple[Running, Running]) -> None:
    one, other = replicas
    conversation = await begun(one)
    for turn in range(6):
        for replica in (other, one):
            await flushed(one)
            await flushed(other)
            await replica.chat(f"{turn}", conversation_id=conversation)
            assert await known(replica, conversation) == await stored(replica, conversation)
    history = one.system.assistant.history
    assert history.stats().value == 0.0
    assert [record.reason for record in history.stats().decisions] == ["overtaken"]
    # Redis' copy is believed: nobody is refused a place behind a message that has a successor.
    assert found(one)[1] == 6
    assert other.system.assistant.history.stats().value == 0.0


async def test_what_was_deleted_on_another_replica_is_gone(replicas: tuple[Running, Running]) -> None:
    one, other = replicas
    conversation = await begun(one)
    await flushed(one)
    assert (await other.client.delete(f"/conversations/{conversation}?user_id=ana")).status_code == 204
    assert (await one.chat("two", conversation_id=conversation)).status_code == 404
    assert await known(one, conversation) == []
    assert await stored(one, conversation) == []


async def test_what_waits_for_redis_is_not_written_after_a_deletion(
    replicas: tuple[Running, Running],
) -> None:
    one, _ = replicas
    conversation = await begun(one)
    assert (await one.client.delete(f"/conversations/{conversation}?user_id=ana")).status_code == 204
    await flushed(one)
    assert await one.cache.get(f"history:{conversation}") is None


async def test_a_stranger_gets_nothing_and_the_owner_loses_nothing(
    replicas: tuple[Running, Running],
) -> None:
    one, other = replicas
    conversation = await begun(one)
    await flushed(one)
    for replica in replicas:
        foreign = await replica.chat("two", conversation_id=conversation, user_id="eve")
        assert foreign.status_code == 404
        assert await replica.system.assistant.history.known(UUID(conversation), "eve") is None
    await one.chat("two", conversation_id=conversation)
    assert found(one) == [1, 0, 0]
    assert len(await stored(other, conversation)) == 4


async def test_an_answer_broken_off_is_part_of_the_history(replicas: tuple[Running, Running]) -> None:
    one, _ = replicas
    conversation = await begun(one)
    body = {"user_id": "ana", "message": "long", "max_output_tokens": 1500, "conversation_id": conversation}
    async with one.client.stream("POST", "/chat/stream", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("event: delta"):
                break

    async def is_kept() -> bool:
        return len(await stored(one, conversation)) == 4

    await eventually(is_kept, within_s=30)
    await one.system.assistant.drain()
    await one.chat("three", conversation_id=conversation)
    assert found(one) == [2, 0, 0]
    assert await known(one, conversation) == await stored(one, conversation)


async def test_an_answer_given_again_changes_no_history(replicas: tuple[Running, Running]) -> None:
    one, _ = replicas
    conversation = await begun(one)
    headers = {"Idempotency-Key": "k-1"}
    first = (await one.chat("two", conversation_id=conversation, headers=headers)).json()
    await one.chat("three", conversation_id=conversation)
    again = (await one.chat("two", conversation_id=conversation, headers=headers)).json()
    assert (again["cached"], again["answer"]) == (True, first["answer"])
    await one.chat("four", conversation_id=conversation)
    assert (found(one), overtaken(one)) == ([3, 0, 0], [0, 0])
    assert await known(one, conversation) == await stored(one, conversation)


async def test_the_metrics_and_the_buffers_tell_where_histories_were_found(
    replicas: tuple[Running, Running],
) -> None:
    one, _ = replicas
    conversation = await begun(one)
    await one.chat("two", conversation_id=conversation)
    await flushed(one)
    metrics = (await one.client.get("/metrics")).text
    assert 'sentinel_histories_found_total{tier="memory"} 1.0' in metrics
    assert "sentinel_histories_kept 1.0" in metrics
    figures = one.system.assistant.history.histories()
    assert figures.writes["written"] + figures.writes["replaced"] == 2
    assert figures.write_s > 0
    assert figures.kept_bytes > 0
    flows = (await one.client.get("/buffers")).json()["cache_operation"]["flows"]
    assert next(flow for flow in flows if flow["name"] == "histories")["reasons"]["memory"] == 1
