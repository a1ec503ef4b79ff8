"""Same API on both sides: the engine's bytes reach the client, a client's leaving reaches the engine."""

import asyncio
import json

import pytest

from tests.gateway.conftest import opened, until
from tests.gateway.scripted import Asked, ScriptedEngine, Wire, event, last, line, say, tell

pytestmark = pytest.mark.anyio


async def test_an_ollama_stream_arrives_byte_for_byte(ollama: ScriptedEngine) -> None:
    ollama.script = tell("Hel", "lo ", "wörld")
    async with opened(ollama) as door, door.chat() as reply:
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/x-ndjson"
        got = await reply.read()
    sent = b"".join(
        json.dumps(each).encode() + b"\n" for each in (*map(line, ("Hel", "lo ", "wörld")), last(3))
    )
    assert got == sent


async def test_an_openai_stream_arrives_with_its_done(openai: ScriptedEngine) -> None:
    openai.script = say("a", "b")
    async with opened(openai) as door, door.v1(stream=True) as reply:
        got = (await reply.read()).decode()
    words = event({"role": "assistant", "content": ""}) + event({"content": "a"}) + event({"content": "b"})
    assert got == words + event({}, "stop") + "data: [DONE]\n\n"


@pytest.mark.parametrize("api", ["ollama", "openai"])
async def test_plain_answers(api: str) -> None:
    engine = ScriptedEngine(api, models=("m:latest" if api == "ollama" else "m",))
    async with opened(engine) as door, door.chat(stream=False) if api == "ollama" else door.v1() as reply:
        assert reply.status == 200
        said = await reply.json()
    message = said["message"] if api == "ollama" else said["choices"][0]["message"]
    assert message["content"] == "hello"


async def test_pieces_arrive_as_they_come(ollama: ScriptedEngine) -> None:
    go = asyncio.Event()

    async def script(asked: Asked, wire: Wire) -> None:
        await wire.head()
        await wire.chunk(line("one"))
        await go.wait()
        await wire.chunk(last())
        await wire.end()

    ollama.script = script
    async with opened(ollama) as door, door.chat() as reply:
        first = await reply.content.readline()
        assert json.loads(first)["message"]["content"] == "one"
        go.set()
        assert json.loads(await reply.content.readline())["done"] is True


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("when", ["prefill", "decode"])
async def test_a_client_that_leaves_frees_the_engine(ollama: ScriptedEngine, stream: bool, when: str) -> None:
    began = asyncio.Event()

    async def script(asked: Asked, wire: Wire) -> None:
        if when == "decode" and stream:
            await wire.head()
            await wire.chunk(line("one"))
        began.set()
        await asyncio.sleep(60)

    ollama.script = script
    async with opened(ollama) as door:

        async def call() -> None:
            async with door.chat(stream=stream) as reply:
                await reply.read()

        task = asyncio.ensure_future(call())
        await began.wait()
        task.cancel()
        await until(lambda: ollama.left == 1)
        await until(lambda: not door.gateway.admission.flows[0].seats)
        ollama.script = tell("again")
        async with door.chat() as reply:
            assert b"again" in await reply.read()
        await until(lambda: [each.outcome for each in door.gateway.seen.last] == ["answered", "left"])


async def test_a_client_that_leaves_the_queue_costs_nothing(ollama: ScriptedEngine) -> None:
    go, began = asyncio.Event(), asyncio.Event()

    async def script(asked: Asked, wire: Wire) -> None:
        began.set()
        await go.wait()
        await tell("x")(asked, wire)

    ollama.script = script
    async with opened(ollama) as door:

        async def call(text: str) -> bytes:
            async with door.chat(text) as reply:
                return await reply.read()

        first = asyncio.ensure_future(call("first"))
        await began.wait()
        flow = door.gateway.admission.flows[0]
        flow.pin(1)
        second, third = (asyncio.ensure_future(call(name)) for name in ("second", "third"))
        await until(lambda: flow.waiting == 2)
        second.cancel()
        await until(lambda: flow.waiting == 1)
        go.set()
        assert b"x" in await first
        assert b"x" in await third
    assert [each.json["messages"][0]["content"] for each in ollama.seen] == ["first", "third"]


async def test_a_refusal_of_the_engine_keeps_its_words(ollama: ScriptedEngine) -> None:
    async def script(asked: Asked, wire: Wire) -> None:
        await wire.whole({"error": '"m" does not support thinking'}, 400)

    ollama.script = script
    async with opened(ollama) as door, door.chat(think=True) as reply:
        assert reply.status == 400
        assert await reply.json() == {"error": '"m" does not support thinking'}
    assert len(ollama.seen) == 1


async def test_an_unknown_model_is_told_with_near_names(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        async with door.chat(model="mm") as reply:
            assert reply.status == 404
            assert "mm" in (await reply.json())["error"]
        async with door.v1(model="mm") as reply:
            assert reply.status == 404
            assert (await reply.json())["error"]["code"] == "model_not_found"


async def test_a_body_reaches_an_ollama_as_it_was_written(ollama: ScriptedEngine) -> None:
    """Under `passthrough` every byte; the model's short name is no reason to touch it either."""
    body = b'{ "model" : "m",\n "future":{"z":1,"a":[1.50]} , "messages":[{"role":"user","content":"h"}] }'
    async with opened(ollama, wishes="passthrough") as door, door.post("/api/chat", body) as reply:
        assert reply.status == 200
    assert ollama.seen[0].body == body
