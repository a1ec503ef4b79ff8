"""Signs of life for who waits for an answer in one piece: blanks before the JSON, and an error that shows."""

import asyncio
import json

import aiohttp
import pytest

from tests.gateway.conftest import Door, opened, until
from tests.gateway.scripted import Asked, Script, ScriptedEngine, Wire

pytestmark = pytest.mark.anyio

BEAT_S = 0.02
CASES = [
    ("ollama", "/api/chat", {"messages": [{"role": "user", "content": "hi"}], "stream": False}),
    ("ollama", "/api/embed", {"input": "hi"}),
    ("openai", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
]


class Late:
    """A script that waits for `go`, and then does as `then` does."""

    def __init__(self, then: Script) -> None:
        self.go = asyncio.Event()
        self.then = then

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        await self.go.wait()
        await self.then(asked, wire)


def engine_of(api: str, then: Script | None = None) -> ScriptedEngine:
    engine = ScriptedEngine(api, models=("m:latest" if api == "ollama" else "m",))
    engine.script = Late(then or engine.script)
    return engine


async def beating(door: Door) -> None:
    """Until a client has been sent blanks."""

    def sent() -> bool:
        answers = [each._answer for each in door.gateway.server._connections]
        return any(answer is not None and answer.started for answer in answers)

    await until(sent)


@pytest.mark.parametrize(("api", "path", "body"), CASES)
async def test_blanks_come_before_the_answer(api: str, path: str, body: dict) -> None:
    engine = engine_of(api)
    async with opened(engine, heartbeat_s=BEAT_S) as door:
        async with door.post(path, {"model": "m", **body}) as reply:
            assert reply.status == 200
            assert reply.headers["content-type"].startswith("application/json")
            first = await reply.content.readexactly(3)
            engine.script.go.set()
            rest = await reply.read()
        direct = await (await door.session.post(f"{engine.url}{path}", json={"model": "m", **body})).json()
    assert first == b" " * 3
    assert json.loads(rest) == direct


@pytest.mark.parametrize(("api", "path", "body"), CASES)
async def test_an_error_after_them_is_no_answer_for_anybody(api: str, path: str, body: dict) -> None:
    async def refuse(asked: Asked, wire: Wire) -> None:
        await wire.whole({"error": "the grammar is wrong"}, 400)

    engine = engine_of(api, refuse)
    async with opened(engine, heartbeat_s=BEAT_S) as door:
        async with door.post(path, {"model": "m", **body}) as reply:
            await reply.content.read(1)
            engine.script.go.set()
            with pytest.raises(aiohttp.ClientPayloadError):
                await reply.json()
        assert door.gateway.seen.last[0].outcome == "refused"


async def raw(door: Door, version: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.gateway.port)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False})
    head = f"POST /api/chat HTTP/{version}\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body.encode())
    return reader, writer


async def test_the_words_of_that_error_are_there_to_be_read() -> None:
    async def refuse(asked: Asked, wire: Wire) -> None:
        await wire.whole({"error": "the grammar is wrong"}, 400)

    engine = engine_of("ollama", refuse)
    async with opened(engine, heartbeat_s=BEAT_S) as door:
        reader, writer = await raw(door, "1.1")
        await beating(door)
        engine.script.go.set()
        async with asyncio.timeout(30):
            got = await reader.read()
        writer.close()
    assert b"the grammar is wrong" in got
    assert not got.endswith(b"0\r\n\r\n")


async def test_an_old_client_gets_none_because_it_would_not_see_a_cut() -> None:
    engine = engine_of("ollama")
    async with opened(engine, heartbeat_s=BEAT_S) as door:
        reader, writer = await raw(door, "1.0")
        await until(lambda: engine.inflight)
        _new, other = await raw(door, "1.1")
        await beating(door)
        engine.script.go.set()
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
        for each in (writer, other):
            each.close()
    assert b"content-length" in head


async def test_who_waits_for_an_engine_that_is_away_is_shown_life() -> None:
    engine = ScriptedEngine()
    async with opened(engine, heartbeat_s=BEAT_S) as door:
        async with door.chat() as reply:
            await reply.read()
        await engine.kill()
        async with door.chat(stream=False) as reply:
            assert await reply.content.readexactly(2) == b"  "
            await engine.start()
            assert json.loads(await reply.read())["message"]["content"] == "hello"


def vectors(count: int) -> Script:
    """An engine's vectors, in its own API."""

    async def script(asked: Asked, wire: Wire) -> None:
        one = [0.123456789] * 1000
        if asked.path == "/api/embed":
            await wire.whole({"model": "m", "embeddings": [one] * count, "prompt_eval_count": 7})
        else:
            data = [{"object": "embedding", "index": i, "embedding": one} for i in range(count)]
            await wire.whole({"object": "list", "data": data, "usage": {"prompt_tokens": 7}})

    return script


@pytest.mark.parametrize("api", ["ollama", "openai"])
async def test_vectors_of_many_megabytes_are_translated(api: str) -> None:
    """Four at the time of a person's chat: ten megabytes."""
    engine = ScriptedEngine(api, models=("m:latest" if api == "ollama" else "m",))
    engine.script = vectors(800)
    async with opened(engine) as door:
        path, field = ("/v1/embeddings", "data") if api == "ollama" else ("/api/embed", "embeddings")
        async with door.post(path, {"model": "m", "input": ["x"] * 800}) as reply:
            assert reply.status == 200
            assert len((await reply.json())[field]) == 800


async def test_what_is_too_large_to_be_translated_is_refused_in_words(monkeypatch) -> None:
    monkeypatch.setattr("fluido.gateway._relay.TRANSLATED_BYTES", 6 << 20)
    engine = ScriptedEngine()
    engine.script = vectors(800)
    async with opened(engine) as door:
        async with door.post("/v1/embeddings", {"model": "m", "input": ["x"] * 800}) as reply:
            assert reply.status == 400
            assert "ask for less at once" in (await reply.json())["error"]["message"]
        assert len(engine.seen) == 1, "to ask again would be as long"
