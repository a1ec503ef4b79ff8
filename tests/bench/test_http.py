"""The door of an arm, against a scripted Sentinel on loopback."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from bench.http import HttpSender
from bench.load import FailedError, RefusedError
from bench.workloads import Question

pytestmark = pytest.mark.anyio

QUESTION = Question("ana", "talk", 0, "One?", 24)
DONE = {
    "output_tokens": 24, "prompt_tokens": 90, "cached_tokens": 40, "cached": False,
    "stages_ms": {"store": 4.0, "cache": 1.0},
}  # fmt: skip


class Script:
    def __init__(self, body: str, status: int = 200) -> None:
        self.body, self.status = body, status
        self.asked: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        headers = {"x-conversation-id": "c-1", "content-type": "text/event-stream"}
        return web.Response(text=self.body, status=self.status, headers=headers)


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[HttpSender]:
    app = web.Application()
    app.router.add_post("/chat/stream", script.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sender = HttpSender(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    await sender.open()
    try:
        yield sender
    finally:
        await sender.close()
        await sender.close()
        await runner.cleanup()


def event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def test_an_answer_is_read_with_its_timings_and_its_conversation_goes_on() -> None:
    script = Script(": accepted\n\n" + event("delta", {"text": "Yes"}) + event("done", DONE))
    async with serving(script) as sender:
        assert not sender.knows(["talk"])
        reply = await sender(QUESTION)
        await sender(QUESTION)
        assert sender.knows(["talk"])
    assert reply.first_at is not None
    assert (reply.output_tokens, reply.database_s, reply.cache_s) == (24, 0.004, 0.001)
    assert (reply.prompt_tokens, reply.cached_tokens) == (90, 40)
    assert "conversation_id" not in script.asked[0]
    assert script.asked[1]["conversation_id"] == "c-1"
    assert script.asked[0]["max_output_tokens"] == 24


async def test_a_known_conversation_is_named_at_once() -> None:
    script = Script(event("done", DONE))
    async with serving(script) as sender:
        sender.know({"talk": "c-9"})
        await sender(QUESTION)
    assert script.asked[0]["conversation_id"] == "c-9"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_is_a_refusal(status: int) -> None:
    async with serving(Script("{}", status)) as sender:
        with pytest.raises(RefusedError):
            await sender(QUESTION)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (event("delta", {"text": "Y"}) + event("error", {"status": 502}), FailedError),
        (event("error", {"status": 503}), RefusedError),
        (event("delta", {"text": "Y"}), FailedError),
    ],
    ids=["broken off", "refused late", "no end"],
)
async def test_a_stream_that_ends_badly_is_no_answer(body: str, kind: type[Exception]) -> None:
    async with serving(Script(body)) as sender:
        with pytest.raises(kind):
            await sender(QUESTION)


async def test_errors_of_the_server_and_the_network_are_failures() -> None:
    async with serving(Script("broken", 500)) as sender:
        with pytest.raises(FailedError, match="500 broken"):
            await sender(QUESTION)
    nobody = HttpSender("http://127.0.0.1:1")
    await nobody.open()
    with pytest.raises(FailedError, match="Connect"):
        await nobody(QUESTION)
    await nobody.close()
