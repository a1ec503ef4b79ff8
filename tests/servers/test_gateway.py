"""The gateway in front of llama.cpp's real server."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.gateway.conftest import Door, opened, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def door(synthetic_engine) -> AsyncIterator[Door]:
    async with opened(synthetic_engine.url) as door:
        yield door


def model_of(door: Door) -> str:
    return next(iter(door.gateway.directory.engines[0].models))


async def busy_slots(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/slots") as reply:
        return sum(slot["is_processing"] for slot in await reply.json())


async def test_a_stream_and_a_plain_answer_say_the_same(door: Door) -> None:
    asked = {"model": model_of(door), "max_tokens": 8, "seed": 1, "temperature": 0, "ignore_eos": True}
    async with door.v1("Tell me", **asked) as reply:
        assert reply.status == 200
        plain = (await reply.json())["choices"][0]["message"]["content"]
    words = []
    async with door.v1("Tell me", stream=True, **asked) as reply:
        async for raw in reply.content:
            if raw.startswith(b"data: {"):
                choices = json.loads(raw[6:])["choices"]
                assert choices, "the counts were not asked for"
                words.append(choices[0]["delta"].get("content") or "")
    assert "".join(words) == plain
    assert [each.output_tokens for each in door.gateway.seen.last] == [8, 8]


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_frees_the_slot(door: Door, synthetic_engine, stream: bool) -> None:
    asked = {"model": model_of(door), "max_tokens": 100_000, "ignore_eos": True, "stream": stream}

    async def call() -> None:
        async with door.v1("Tell me everything", **asked) as reply:
            await reply.read()

    task = asyncio.ensure_future(call())
    async with asyncio.timeout(30):
        while not await busy_slots(synthetic_engine.url):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        task.cancel()
        while await busy_slots(synthetic_engine.url):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await until(lambda: not door.gateway.admission.flows[0].seats)
