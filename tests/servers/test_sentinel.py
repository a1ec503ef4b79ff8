"""Sentinel whole, over HTTP, on a real PostgreSQL, Redis and llama.cpp (random weights)."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

import embedded
from app.api.panel.frame import Frames
from app.api.traffic import Traffic
from tests.servers.sentinel import Running, eventually, running

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sentinel(
    postgres_url: str, redis_url: str, synthetic_engine: embedded.Engine
) -> AsyncIterator[Running]:
    async with running(postgres_url, redis_url, synthetic_engine.url) as found:
        yield found


async def stored(sentinel: Running, conversation_id: str) -> list[str]:
    answer = await sentinel.client.get(f"/conversations/{conversation_id}?user_id=ana")
    return [message["role"] for message in answer.json()["messages"]]


async def test_a_conversation_is_kept_and_its_prefix_is_found_again(sentinel: Running) -> None:
    first = (await sentinel.chat("one " * 60)).json()
    assert first["output_tokens"] == 6
    second = (await sentinel.chat("two", conversation_id=first["conversation_id"])).json()
    assert second["conversation_id"] == first["conversation_id"]
    assert second["cached_tokens"] >= 0.8 * first["prompt_tokens"]
    read = (await sentinel.client.get(f"/conversations/{first['conversation_id']}?user_id=ana")).json()
    assert [message["role"] for message in read["messages"]] == ["user", "assistant"] * 2
    assert read["messages"][1]["content"] == first["answer"]
    assert sentinel.system.assistant.history.found == {"memory": 1, "redis": 0, "database": 0}
    assert second["stages_ms"]["cache"] > 0
    listed = (await sentinel.client.get("/conversations?user_id=ana")).json()
    assert [item["id"] for item in listed] == [first["conversation_id"]]


async def test_a_foreign_or_unknown_conversation_is_not_found(sentinel: Running) -> None:
    mine = (await sentinel.chat("one")).json()["conversation_id"]
    foreign = await sentinel.chat("two", conversation_id=mine, user_id="eve")
    unknown = await sentinel.chat("two", conversation_id=str(uuid4()))
    for answer in (foreign, unknown):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
    assert (await sentinel.client.get(f"/conversations/{mine}?user_id=eve")).status_code == 404
    assert (await sentinel.client.delete(f"/conversations/{mine}?user_id=eve")).status_code == 404
    assert await stored(sentinel, mine) == ["user", "assistant"]
    assert (await sentinel.client.delete(f"/conversations/{mine}?user_id=ana")).status_code == 204
    assert (await sentinel.client.get(f"/conversations/{mine}?user_id=ana")).status_code == 404


async def test_a_repeated_key_gets_the_same_answer_once(sentinel: Running) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = (await sentinel.chat("one", headers=headers)).json()
    again = (await sentinel.chat("one", headers=headers)).json()
    assert (again["answer"], again["cached"]) == (first["answer"], True)
    assert await stored(sentinel, first["conversation_id"]) == ["user", "assistant"]
    other = await sentinel.chat("two", headers=headers)
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_key_reused"


async def test_a_key_sent_twice_at_once_is_answered_once(sentinel: Running) -> None:
    headers = {"Idempotency-Key": "k-2"}
    answers = await asyncio.gather(*(sentinel.chat("one", headers=headers) for _ in range(4)))
    done = [answer for answer in answers if answer.status_code == 200]
    held = [answer for answer in answers if answer.status_code == 409]
    assert len(done) >= 1
    assert len(done) + len(held) == 4
    assert all(1 <= int(answer.headers["retry-after"]) <= 3 for answer in held)
    conversations = {answer.json()["conversation_id"] for answer in done}
    assert len(conversations) == 1
    assert await stored(sentinel, conversations.pop()) == ["user", "assistant"]


async def test_two_messages_at_once_are_answered_in_turn(sentinel: Running) -> None:
    conversation = (await sentinel.chat("one")).json()["conversation_id"]
    await asyncio.gather(*(sentinel.chat(f"m{n}", conversation_id=conversation) for n in range(3)))
    assert await stored(sentinel, conversation) == ["user", "assistant"] * 4


async def test_no_database_connection_is_held_while_tokens_flow(sentinel: Running) -> None:
    (station,) = sentinel.sentinel.dispatcher.stations
    await station._pause()  # an answer may be one word long: all four must be there before the first begins
    asking = [asyncio.create_task(sentinel.chat("one", max_output_tokens=120)) for _ in range(4)]

    async def are_there() -> bool:
        # who stored the questions gives the connection back after the questions went on
        return len(station.queue) == 4 and sentinel.db.stats().inflight == 0

    await eventually(are_there, within_s=20)
    station._resume()
    seen = []
    while not all(task.done() for task in asking):
        if station.inflight + len(station.queue) == 4:
            seen.append(sentinel.db.stats().inflight)
        await asyncio.sleep(0.002)
    assert {task.result().status_code for task in asking} == {200}, "who leaves has its words stored"
    assert seen
    assert max(seen) == 0


async def test_a_client_that_leaves_frees_the_engine_and_keeps_what_it_read(
    sentinel: Running, synthetic_engine: embedded.Engine
) -> None:
    body = {"user_id": "ana", "message": "long", "max_output_tokens": 1500}
    async with sentinel.client.stream("POST", "/chat/stream", json=body) as answer:
        conversation = answer.headers["x-conversation-id"]
        async for line in answer.aiter_lines():
            if line.startswith("event: delta"):
                break
    station = sentinel.sentinel.dispatcher.stations[0]
    async with httpx.AsyncClient(base_url=synthetic_engine.url) as engine:

        async def is_free() -> bool:
            slots = (await engine.get("/slots")).json()
            return not station.inflight and not any(slot["is_processing"] for slot in slots)

        async def is_kept() -> bool:
            return await stored(sentinel, conversation) == ["user", "assistant"]

        await eventually(is_free, within_s=30)
        await eventually(is_kept, within_s=30)


async def test_two_hundred_clients_are_answered_or_refused_at_once(sentinel: Running) -> None:
    answers = await asyncio.gather(
        *(sentinel.chat("hi", user_id=f"u{n}", max_output_tokens=1) for n in range(200)),
        return_exceptions=True,
    )
    codes = [answer.status_code for answer in answers if isinstance(answer, httpx.Response)]
    assert len(codes) == 200
    assert set(codes) <= {200, 503}
    # How many are refused is a matter of the prediction, which is cautious while it knows little.
    assert codes.count(200) >= 20
    for answer in answers:
        if isinstance(answer, httpx.Response) and answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
    station = sentinel.sentinel.dispatcher.stations[0]
    assert (station.inflight, len(station.queue)) == (0, 0)

    async def is_given_back() -> bool:
        return sentinel.db.stats().inflight == 0

    # Timings are still being written behind.
    await eventually(is_given_back, within_s=5)


async def test_a_message_over_the_window_is_refused_with_both_numbers(sentinel: Running) -> None:
    answer = await sentinel.chat("\u00f1" * 7900)
    assert answer.status_code == 422
    detail = answer.json()["error"]["detail"]
    assert detail["tokens"] > detail["window"]


async def test_the_live_values_and_metrics_show_real_flows(sentinel: Running) -> None:
    await sentinel.chat("one")
    await sentinel.system.assistant.history.flush()
    buffers = (await sentinel.client.get("/buffers")).json()
    assert buffers["database_query"]["flows"][0]["admitted"] > 0
    assert buffers["cache_operation"]["flows"][0]["value"] > 0
    assert [flow["name"] for flow in buffers["cache_operation"]["flows"][1:]] == [
        "histories",
        "behind:histories",
    ]
    assert buffers["database_query"]["config"]["pool_max_size"] >= 2
    metrics = (await sentinel.client.get("/metrics")).text
    assert 'fluido_admitted_total{flow="postgresql"' in metrics


async def test_timings_are_written_behind(sentinel: Running) -> None:
    await sentinel.chat("one")

    async def is_written() -> bool:
        async with sentinel.db.get_session() as session:
            rows = (await session.execute(sa.text("SELECT engine, prefill_ms FROM timings"))).all()
        return len(rows) == 1 and rows[0].prefill_ms > 0

    await eventually(is_written, within_s=30)


async def test_the_customers_methods(sentinel: Running) -> None:
    pieces = [piece async for piece in sentinel.sentinel.responder("ana", "one")]
    assert pieces
    assert {ttfb for _, ttfb in pieces} == {pieces[0][1]}
    text, ttfb_ms = await sentinel.sentinel.responder_simple("ana", "two")
    assert text
    assert ttfb_ms > 0


async def test_the_live_page_shows_every_flow_of_the_whole_system(sentinel: Running) -> None:
    """A flow of a new kind must not be taken for another one: the page would stop for everybody."""
    await sentinel.chat("hi")
    frame = Frames(sentinel.system, Traffic(sentinel.system.flows)).make()
    shown = {flow["name"] for flow in frame["flows"]}
    assert shown == {flow.stats().name for flow in sentinel.system.flows()}
    assert {"histories", "behind:histories"} <= shown
