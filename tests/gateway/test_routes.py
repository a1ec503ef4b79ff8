"""Routes beside chat: listings, pages of other origins, what passes as bytes, big bodies, keys in paths."""

import asyncio
import json

import aiohttp
import pytest

from fluido.gateway._keys import Client, Keys
from fluido.gateway._origins import Origins
from tests.gateway.conftest import opened, until
from tests.gateway.scripted import Asked, ScriptedEngine, Wire, tell

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("https://127.0.0.1", True),
        ("http://[::1]:8080", True),
        ("chrome-extension://abcdef", True),
        ("vscode-webview://x", True),
        ("http://mine.example", True),
        ("http://gateway.local:11435", True),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://localhost:3000.evil.example", False),
        ("null", False),
    ],
)
def test_which_pages_may_call(origin: str, allowed: bool) -> None:
    origins = Origins(("http://mine.example",))
    headers = {b"origin": origin.encode(), b"host": b"gateway.local:11435"}
    assert origins.allowed(headers) is allowed


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:11435", True),
        ("[::1]:11435", True),
        ("localhost", True),
        ("my-machine:11435", True),
        ("", True),
        ("rebound.evil.example", False),
    ],
)
def test_names_that_are_not_this_machines(host: str, allowed: bool) -> None:
    assert Origins().allowed({b"host": host.encode()}) is allowed
    assert Origins(is_loopback=False).allowed({b"host": host.encode()})
    assert Origins((f"https://{host}",)).allowed({b"host": host.encode()})


async def test_a_strange_page_is_refused_and_a_known_one_is_answered(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        async with door.chat(headers={"origin": "https://evil.example"}) as reply:
            assert reply.status == 403
            assert "origins" in (await reply.json())["error"]
        known = {"origin": "http://localhost:3000", "access-control-request-headers": "x-mine"}
        async with door.session.options(f"{door.url}/api/chat", headers=known) as reply:
            assert reply.status == 204
            assert reply.headers["access-control-allow-headers"] == "x-mine"
        async with door.chat(headers={"origin": "http://localhost:3000"}) as reply:
            assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"
            assert (await reply.read()).count(b"\n") == 2


async def test_listings_of_two_engines_in_both_apis() -> None:
    one = ScriptedEngine("ollama", models=("a:latest", "b:7b"))
    two = ScriptedEngine("openai", models=("c",))
    async with opened(one, two, aliases={"gpt-4o": "b:7b"}) as door:
        get = door.session.get
        async with get(f"{door.url}/") as reply:
            assert await reply.text() == "Ollama is running"
        async with door.session.head(f"{door.url}/") as reply:
            assert reply.status == 200
        async with get(f"{door.url}/api/version") as reply:
            assert await reply.json() == {"version": "0.20.0"}
        async with get(f"{door.url}/api/tags") as reply:
            assert [each["name"] for each in (await reply.json())["models"]] == [
                "a:latest",
                "b:7b",
                "c",
                "gpt-4o",
            ]
        async with get(f"{door.url}/v1/models") as reply:
            assert [each["id"] for each in (await reply.json())["data"]] == [
                "a:latest",
                "b:7b",
                "c",
                "gpt-4o",
            ]
        async with get(f"{door.url}/api/ps") as reply:
            assert [each["name"] for each in (await reply.json())["models"]] == ["a:latest"]
        async with get(f"{door.url}/v1/models/c") as reply:
            assert (await reply.json())["id"] == "c"
        async with door.post("/api/show", {"name": "a"}) as reply:
            assert "completion" in (await reply.json())["capabilities"]
        async with door.post("/api/show", {"model": "c"}) as reply:
            assert reply.status == 200
        async with door.post("/api/show", {"model": "nobody"}) as reply:
            assert reply.status == 404
        async with get(f"{door.url}/api/nonsense") as reply:
            assert reply.status == 404
        async with get(f"{door.url}/api/chat") as reply:
            assert reply.status == 405
        async with door.chat(model="gpt-4o") as reply:
            assert reply.status == 200
        assert one.seen[-1].json["model"] == "b:7b"


async def test_models_are_changed_only_by_those_who_may(ollama: ScriptedEngine) -> None:
    pulled: list[Asked] = []

    async def script(asked: Asked, wire: Wire) -> None:
        pulled.append(asked)
        await wire.head()
        await wire.chunk({"status": "pulling"})
        await wire.chunk({"status": "success"})
        await wire.end()

    ollama.script = script
    ollama.load = _nothing  # type: ignore[method-assign]
    two = Keys([("k1", Client("plain")), ("k2", Client("boss", admin=True))])
    async with opened(ollama, keys=two) as door:
        body = {"model": "m", "messages": [1]}
        async with door.post("/api/pull", body, headers={"authorization": "Bearer k1"}) as reply:
            assert reply.status == 403
        async with door.post("/api/pull", body, headers={"authorization": "Bearer k2"}) as reply:
            assert [json.loads(each)["status"] for each in (await reply.read()).splitlines()] == [
                "pulling",
                "success",
            ]
        async with door.post("/api/pull", body) as reply:
            assert reply.status == 401
    assert len(pulled) == 1
    assert "authorization" not in pulled[0].headers


async def _nothing(model: str) -> None:
    """Pulling loads nothing."""


async def test_a_key_in_the_path_and_one_that_may_not(ollama: ScriptedEngine) -> None:
    some = Keys([("k1", Client("a", models=("other*",))), ("k2", Client("b", per_minute=2))])
    async with opened(ollama, keys=some) as door:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        async with door.post("/k/k1/api/chat", body) as reply:
            assert reply.status == 403
        for status in (200, 200, 429):
            async with door.post("/k/k2/v1/chat/completions", body) as reply:
                assert reply.status == status
        assert int(reply.headers["retry-after"]) >= 1
    assert "k2" not in json.dumps([each.headers for each in ollama.seen])


async def test_a_body_of_thirteen_megabytes_arrives_whole(ollama: ScriptedEngine) -> None:
    ollama.script = tell("seen")
    image = "A" * (13 << 20)
    body = {"model": "m", "messages": [{"role": "user", "content": "what is it?", "images": [image]}]}
    async with opened(ollama) as door, door.post("/api/chat", body) as reply:
        assert reply.status == 200
        assert b"seen" in await reply.read()
    assert ollama.seen[0].json["messages"][0]["images"] == [image]


async def test_too_large_a_body_and_one_that_is_no_json(ollama: ScriptedEngine) -> None:
    async with opened(ollama, max_body_bytes=100_000) as door:
        async with door.post("/v1/chat/completions", b"x" * 100_001) as reply:
            assert reply.status == 413
            assert (await reply.json())["error"]["message"]
        async with door.post("/api/chat", b'{"model": "m", "messages": [') as reply:
            assert reply.status == 400
            assert "JSON" in (await reply.json())["error"]


async def test_loading_and_unloading_are_answered_without_harm(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        async with door.post("/api/generate", {"model": "m", "stream": False}) as reply:
            assert (await reply.json())["done_reason"] == "load"
        async with door.post("/api/chat", {"model": "m", "messages": [], "keep_alive": 0}) as reply:
            assert reply.status == 200
            assert json.loads(await reply.read())["done"] is True
    assert not ollama.loads


async def test_nobody_unloads_what_others_use_and_nothing_is_loaded_to_be_unloaded() -> None:
    engine = ScriptedEngine("ollama", models=("a:latest", "b:latest"))
    engine.room = 1
    go = asyncio.Event()

    async def script(asked: Asked, wire: Wire) -> None:
        await go.wait()
        await tell("x")(asked, wire)

    engine.script = script
    async with opened(engine) as door:
        body = {"messages": [], "keep_alive": 0, "stream": False}
        async with door.post("/api/chat", {"model": "b", **body}) as reply:
            assert (await reply.json())["done_reason"] == "unload"

        async def call() -> int:
            async with door.chat(model="a") as reply:
                await reply.read()
                return reply.status

        used = asyncio.ensure_future(call())
        await until(lambda: engine.inflight)
        async with door.post("/api/chat", {"model": "a", **body}) as reply:
            assert (await reply.json())["done_reason"] == "unload"
        go.set()
        assert await used == 200
    assert not engine.loads
    assert engine.resident == ["a:latest"]


async def test_responses_of_an_openai_server_pass_as_bytes(openai: ScriptedEngine) -> None:
    said = b'event: response.completed\ndata: {"type": "response.completed", "response": {"usage": {}}}\n\n'

    async def script(asked: Asked, wire: Wire) -> None:
        await wire.head(200, "text/event-stream")
        await wire.chunk(b'data: {"type": "response.output_text.delta", "delta": "x"}\n\n')
        await wire.chunk(said)
        await wire.end()

    openai.script = script
    async with opened(openai) as door:
        async with door.post("/v1/responses", {"model": "m", "input": "hi", "stream": True}) as reply:
            assert reply.status == 200
            assert (await reply.read()).endswith(said)
        assert door.gateway.seen.last[0].outcome == "answered"


async def test_thousands_of_idle_connections_are_bounded(ollama: ScriptedEngine) -> None:
    async with opened(ollama, max_connections=300) as door:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            replies = [await session.get(f"{door.url}/") for _ in range(300)]
            assert door.gateway.server.connections <= 301
            for reply in replies:
                assert reply.status == 200
                await reply.read()
        async with door.chat() as reply:
            assert reply.status == 200
