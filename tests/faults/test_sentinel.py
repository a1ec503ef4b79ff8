"""What a client sees, and what is kept, when a part of Sentinel is killed with SIGKILL."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

import embedded
from tests.servers.sentinel import Running, eventually, running

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Stack]:
    folder = tmp_path_factory.mktemp("ground")
    with embedded.stack(data_dir=folder, engine="synthetic", supervise=False) as found:
        yield found


@pytest.fixture
async def sentinel(ground: embedded.Stack) -> AsyncIterator[Running]:
    async with running(ground.database_url, ground.redis_url, ground.engine_url) as found:
        yield found


async def revive(server: embedded.Postgres | embedded.Redis | embedded.Engine) -> None:
    """Start a killed server on its port, as the ground's supervisor does in `make run`."""

    async def is_gone() -> bool:
        return not server.running

    await eventually(is_gone, within_s=10)
    await asyncio.to_thread(server.start)


async def until_answered(sentinel: Running, within_s: float, **body: str) -> float:
    """Ask until a question is answered; return after how many seconds that was."""

    async def is_answered() -> bool:
        return (await sentinel.chat("again", **body)).status_code == 200

    return await eventually(is_answered, within_s, every_s=0.05)


async def roles(sentinel: Running, conversation: str) -> list[str]:
    answer = await sentinel.client.get(f"/conversations/{conversation}?user_id=ana")
    return [message["role"] for message in answer.json()["messages"]]


async def test_the_engine_dies_in_the_middle_of_an_answer(ground: embedded.Stack, sentinel: Running) -> None:
    body = {"user_id": "ana", "message": "long", "max_output_tokens": 1500}
    lines = []
    async with sentinel.client.stream("POST", "/chat/stream", json=body) as answer:
        conversation = answer.headers["x-conversation-id"]
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                lines.append(line)
                if len(lines) == 1:
                    ground.engine.child.kill()
    assert lines[-1] == "event: error"
    assert "event: done" not in lines

    began = time.perf_counter()
    refused = await sentinel.chat("while it is away", deadline_s=0.5)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "engine_unavailable"
    assert time.perf_counter() - began < 5.0
    assert (await sentinel.client.get("/health/ready")).status_code == 503

    await revive(ground.engine)
    await until_answered(sentinel, 15, conversation_id=conversation)
    assert (await roles(sentinel, conversation))[0] == "user"
    assert (await roles(sentinel, conversation))[-2:] == ["user", "assistant"]


async def test_redis_dies_and_nothing_is_lost(ground: embedded.Stack, sentinel: Running) -> None:
    conversation = (await sentinel.chat("one")).json()["conversation_id"]
    ground.redis.child.kill()
    second = await sentinel.chat("two", conversation_id=conversation)
    third = await sentinel.chat("three", conversation_id=conversation)
    assert (second.status_code, third.status_code) == (200, 200)
    assert third.json()["prompt_tokens"] > second.json()["prompt_tokens"]
    ready = await sentinel.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")

    await revive(ground.redis)
    await asyncio.sleep(1.1)
    fourth = await sentinel.chat("four", conversation_id=conversation)
    fifth = await sentinel.chat("five", conversation_id=conversation)
    assert fifth.json()["prompt_tokens"] > fourth.json()["prompt_tokens"] > third.json()["prompt_tokens"]
    assert sentinel.system.assistant.history.found == {"memory": 4, "redis": 0, "database": 0}
    await sentinel.system.assistant.history.flush()
    assert len((await sentinel.cache.get(f"history:{conversation}"))["turns"]) == 10
    assert await roles(sentinel, conversation) == ["user", "assistant"] * 5


async def test_postgresql_dies_and_is_refused_until_it_is_back(
    ground: embedded.Stack, sentinel: Running
) -> None:
    conversation = (await sentinel.chat("one")).json()["conversation_id"]
    ground.postgres.child.kill()
    refused = await sentinel.chat("two", conversation_id=conversation)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "storage_unavailable"
    assert int(refused.headers["retry-after"]) >= 1
    assert (await sentinel.client.get("/health/ready")).status_code == 503
    assert (await sentinel.client.get("/health/live")).status_code == 200

    await revive(ground.postgres)
    await until_answered(sentinel, 10, conversation_id=conversation)
    assert (await roles(sentinel, conversation))[:2] == ["user", "assistant"]
    assert (await sentinel.client.get("/health/ready")).json()["status"] == "ready"


async def test_sentinel_starts_before_its_database(ground: embedded.Stack) -> None:
    await asyncio.to_thread(ground.postgres.stop)
    async with running(ground.database_url, ground.redis_url, ground.engine_url) as sentinel:
        assert (await sentinel.chat("one")).status_code == 503
        await revive(ground.postgres)
        await until_answered(sentinel, 10)
