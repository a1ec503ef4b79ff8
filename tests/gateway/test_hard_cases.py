"""The hard cases of the design that stand nowhere else: what goes wrong between clients, us and engines.

Each name begins with its number there (design/gateway.md 6.3).
"""

import asyncio
import json
import time

import pytest

from fluido.gateway._observe import observed
from tests.gateway.conftest import PATIENCE_S, Door, opened, until
from tests.gateway.scripted import Asked, ScriptedEngine, Wire, last, line, tell

pytestmark = pytest.mark.anyio


async def told(door: Door, text: str = "hi", **more: object) -> tuple[int, bytes]:
    async with door.chat(text, **more) as reply:
        return reply.status, await reply.read()


async def test_05_a_window_larger_than_the_loaded_one_is_answered_and_told(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        async with door.chat(options={"num_ctx": 32768}) as reply:
            assert reply.status == 200
            assert "num_ctx 32768->" in reply.headers["x-fluido-changed"]
            await reply.read()
        assert ollama.seen[-1].json.get("options", {}).get("num_ctx") in {None, 4096}
        assert not ollama.loads


@pytest.mark.parametrize("name", ["model", "name"])
async def test_06_show_knows_both_names_and_says_what_is_unknown(ollama: ScriptedEngine, name: str) -> None:
    async with opened(ollama) as door:
        async with door.post("/api/show", {name: "m"}) as reply:
            assert (reply.status, (await reply.json())["capabilities"]) == (200, ["completion"])
        async with door.post("/api/show", {name: "nobody"}) as reply:
            assert reply.status == 404
            assert "not found" in (await reply.json())["error"]


@pytest.mark.parametrize("field", ["thinking", "reasoning_content"])
async def test_09_who_leaves_while_the_model_thinks_frees_it(field: str) -> None:
    api = "ollama" if field == "thinking" else "openai"
    engine = ScriptedEngine(api, models=("m:latest" if api == "ollama" else "m",))

    async def think(asked: Asked, wire: Wire) -> None:
        if api == "ollama":
            await wire.head()
            await wire.chunk(
                {"model": "m", "message": {"role": "assistant", "thinking": "hm"}, "done": False}
            )
        else:
            await wire.head(200, "text/event-stream")
            chunk = {"id": "c", "choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}
            await wire.chunk(f"data: {json.dumps(chunk)}\n\n")
        await asyncio.sleep(600)

    engine.script = think
    async with opened(engine) as door:
        ask = door.chat if api == "ollama" else door.v1
        reply = await ask(stream=True)
        assert b"hm" in await reply.content.readline()
        reply.close()
        await until(lambda: engine.left == 1)
        await until(lambda: not door.gateway.admission.flows[0].seats)


async def test_14_streams_go_on_beside_a_picture_of_many_megabytes(ollama: ScriptedEngine) -> None:
    """The loop is never away for as long as parsing thirteen megabytes would take."""
    picture = "A" * (13 << 20)
    async with opened(ollama) as door:
        ollama.script = tell(*["word"] * 40, gap_s=0.01)
        streams = [asyncio.ensure_future(told(door, f"s{i}")) for i in range(20)]
        await until(lambda: ollama.inflight)
        big = {"model": "m", "messages": [{"role": "user", "content": "what?", "images": [picture]}]}
        async with door.post("/api/chat", big) as reply:
            assert reply.status == 200
            await reply.read()
        for status, body in await asyncio.gather(*streams):
            assert (status, body.count(b"word")) == (200, 40)
        asked = max(ollama.seen, key=lambda each: len(each.body))
        assert asked.json["messages"][0]["images"] == [picture]


async def test_15_what_an_openai_engine_reads_arrives_as_it_was_written(openai: ScriptedEngine) -> None:
    schema = {"type": "object", "properties": {f"field{i}": {"type": "string"} for i in range(4000)}}
    asked = {
        "n": 4,
        "seed": 7,
        "logprobs": True,
        "top_logprobs": 3,
        "max_completion_tokens": 16,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
    }
    assert len(json.dumps(schema)) > 100_000
    async with opened(openai) as door, door.v1(**asked) as reply:
        assert reply.status == 200
    got = openai.seen[-1].json
    assert {name: got[name] for name in asked} == asked
    assert list(got["response_format"]["json_schema"]["schema"]["properties"]) == list(schema["properties"])


async def test_16_thousands_of_texts_to_embed_keep_nobody_from_chatting() -> None:
    engine = ScriptedEngine(models=("m:latest", "e:latest"))
    engine.resident = ["m:latest", "e:latest"]
    go = asyncio.Event()

    async def script(asked: Asked, wire: Wire) -> None:
        if asked.path == "/api/embed":
            await go.wait()
            await wire.whole({"model": "e", "embeddings": [[0.5]] * len(asked.json["input"])})
        else:
            await tell("hello")(asked, wire)

    engine.script = script
    async with opened(engine) as door:

        async def embed() -> int:
            async with door.post("/api/embed", {"model": "e", "input": ["text"] * 2000}) as reply:
                return len((await reply.json())["embeddings"])

        bulk = [asyncio.ensure_future(embed()) for _ in range(5)]
        await until(lambda: engine.inflight)
        for i in range(5):
            assert (await told(door, f"person {i}"))[0] == 200
        go.set()
        assert await asyncio.gather(*bulk) == [2000] * 5


async def test_17_of_completions_that_replace_each_other_only_the_last_is_computed(
    ollama: ScriptedEngine,
) -> None:
    """An editor asks at each key and leaves the call before: what waits and is left is never sent."""
    began, go = asyncio.Event(), asyncio.Event()

    async def script(asked: Asked, wire: Wire) -> None:
        began.set()
        await go.wait()
        await tell("x")(asked, wire)

    ollama.script = script
    async with opened(ollama) as door:
        held = asyncio.ensure_future(told(door, "other"))
        await began.wait()
        flow = door.gateway.admission.flows[0]
        flow.pin(1)

        async def complete(i: int) -> int:
            body = {"model": "m", "prompt": f"def f{i}", "suffix": "return", "stream": True}
            async with door.post("/api/generate", body) as reply:
                await reply.read()
                return reply.status

        for i in range(20):
            typed = asyncio.ensure_future(complete(i))
            await until(lambda: flow.waiting == 1)
            if i < 19:
                typed.cancel()
                await until(lambda: flow.waiting == 0)
        go.set()
        assert (await held)[0] == await typed == 200
    assert [each.json.get("prompt") for each in ollama.seen] == [None, "def f19"]


async def test_21_a_blob_is_asked_for_by_head(ollama: ScriptedEngine) -> None:
    asked: list[Asked] = []

    class Blobs(ScriptedEngine):
        async def _answer(self, request: Asked, wire: Wire) -> None:
            if request.path.startswith("/api/blobs/"):
                asked.append(request)
                await wire.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            else:
                await super()._answer(request, wire)

    async with opened(Blobs(), manage=True) as door:
        for _ in range(2):
            async with door.session.head(f"{door.url}/api/blobs/sha256:00") as reply:
                assert reply.status == 200
    assert [each.method for each in asked] == ["HEAD", "HEAD"]


async def test_22_an_engine_that_comes_back_with_another_model_is_asked_for_that(
    ollama: ScriptedEngine,
) -> None:
    async with opened(ollama, away_s=0.0) as door:
        assert (await told(door))[0] == 200
        await ollama.kill()
        ollama.models, ollama.resident = ("other:latest",), ["other:latest"]
        await ollama.start()
        await until(lambda: "other:latest" in door.gateway.directory.engines[0].models)
        assert (await told(door, model="other"))[0] == 200
        assert (await told(door))[0] == 404


async def test_26_a_clock_that_is_set_back_harms_nothing(ollama: ScriptedEngine, monkeypatch) -> None:
    async with opened(ollama) as door:
        assert (await told(door))[0] == 200
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 86_400.0)
        async with door.chat(headers={"x-deadline-ms": "20000"}) as reply:
            assert reply.status == 200
            await reply.read()
        monkeypatch.setattr(time, "time", lambda: real() + 86_400.0)
        assert (await told(door))[0] == 200
        requests = door.gateway.seen.kept
        assert [each.outcome for each in requests] == ["answered"] * 3
        assert all(0.0 <= each.total_s < PATIENCE_S for each in requests)
        assert observed(requests).requests == 3
        async with door.session.get(f"{door.url}/gateway/state") as reply:
            assert reply.status == 200


async def test_27_who_reads_nothing_does_not_keep_his_permit_for_ever(
    ollama: ScriptedEngine, monkeypatch
) -> None:
    monkeypatch.setattr("fluido.gateway._attempt.SLOW_READER_S", 0.2)

    async def script(asked: Asked, wire: Wire) -> None:
        await wire.head()
        for _ in range(2000):
            await wire.chunk(line("x" * 100_000))
        await wire.chunk(last())
        await wire.end()

    ollama.script = script
    async with opened(ollama) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.gateway.port, limit=1024)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
        writer.write(b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await reader.readuntil(b"\r\n")
        await until(lambda: ollama.inflight == 0)
        await until(lambda: door.gateway.seen.last)
        assert not door.gateway.admission.flows[0].seats
        assert "nobody reads" in door.gateway.seen.last[0].error
        writer.transport.abort()


async def test_29_head_of_the_root(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        for path in ("/", "/api/tags", "/api/version"):
            async with door.session.head(door.url + path) as reply:
                assert (reply.status, await reply.read()) == (200, b"")


async def test_a_body_that_is_cut_leaves_nothing_behind(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", door.gateway.port)
            writer.write(
                b'POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999\r\n\r\n{"model":'
            )
            await writer.drain()
            writer.transport.abort()
            del reader
        await until(lambda: door.gateway.server.held_bytes == 0 and door.gateway.server.connections == 0)
        assert not door.gateway.seen.last
        assert not ollama.seen


async def test_a_body_that_is_packed_is_refused_in_words(ollama: ScriptedEngine) -> None:
    async with (
        opened(ollama) as door,
        door.post("/api/chat", b"\x1f\x8b", headers={"content-encoding": "gzip"}) as reply,
    ):
        assert reply.status == 415
        assert "send it as it is" in (await reply.json())["error"]
