"""V1 whole: real PostgreSQL, Redis and engine behind the shared HTTP code."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

import embedded
from app.api import create_app
from app.core.settings import Settings
from bench.v1.system import StaticSystem

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(
    postgres_url: str, redis_url: str, synthetic_engine: embedded.Engine
) -> AsyncIterator[httpx.AsyncClient]:
    system = StaticSystem(
        database_url=postgres_url,
        redis_url=redis_url,
        engine_url=synthetic_engine.url,
        dialect="llamacpp",
        model=synthetic_engine.model.name,
    )
    app = create_app(system, Settings())
    await system.open()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://v1", timeout=30) as client:
        yield client
    await system.close()


def ask(text: str, **more: object) -> dict[str, object]:
    return {"user_id": "ana", "message": text, "max_output_tokens": 8, **more}


async def test_a_conversation_is_answered_stored_and_remembered(client: httpx.AsyncClient) -> None:
    first = (await client.post("/chat", json=ask("One fine day?"))).json()
    again = (
        await client.post("/chat", json=ask("And then?", conversation_id=first["conversation_id"]))
    ).json()
    assert first["output_tokens"] == again["output_tokens"] == 8
    assert again["prompt_tokens"] > first["prompt_tokens"]
    assert {"store", "cache", "prefill", "decode"} <= set(again["stages_ms"])
    shown = (await client.get(f"/conversations/{first['conversation_id']}", params={"user_id": "ana"})).json()
    assert [message["role"] for message in shown["messages"]] == ["user", "assistant"] * 2
    assert shown["messages"][1]["content"] == first["answer"]


async def test_the_window_keeps_the_prompt_from_growing(client: httpx.AsyncClient) -> None:
    conversation, sizes = None, []
    for _ in range(6):
        body = ask("Tell me more.") | ({"conversation_id": conversation} if conversation else {})
        reply = (await client.post("/chat", json=body)).json()
        conversation = reply["conversation_id"]
        sizes.append(reply["prompt_tokens"])
    assert sizes[0] < sizes[1] < sizes[2] < sizes[3]
    assert abs(sizes[5] - sizes[4]) < sizes[1] - sizes[0]


async def test_a_stream_has_deltas_and_one_last_event(client: httpx.AsyncClient) -> None:
    # deltas that come while one is being sent are merged: all may be one while the machine is busy
    for _ in range(20):
        text = (await client.post("/chat/stream", json=ask("One?", max_output_tokens=64))).text
        events = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
        assert events.count("done") == 1
        assert events[-1] == "done"
        last = json.loads(text.strip().splitlines()[-1][6:])
        assert last["finish_reason"] == "length"
        if events.count("delta") >= 2:
            break
    assert events.count("delta") >= 2


async def test_another_users_conversation_is_not_found(client: httpx.AsyncClient) -> None:
    reply = (await client.post("/chat", json=ask("Mine?"))).json()
    body = ask("Yours?", conversation_id=reply["conversation_id"], user_id="eva")
    assert (await client.post("/chat", json=body)).status_code == 404
    deleted = await client.delete(f"/conversations/{reply['conversation_id']}", params={"user_id": "ana"})
    assert deleted.status_code in {200, 204}


async def test_health_and_buffers_are_told(client: httpx.AsyncClient) -> None:
    ready = await client.get("/health/ready")
    assert ready.status_code == 200
    buffers = (await client.get("/buffers")).json()
    assert buffers["database_query"] == {"pool_size": 5, "max_overflow": 10}
