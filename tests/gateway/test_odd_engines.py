"""Engines and what stands before them send odd things: none of it is taken for an answer that it is not."""

import asyncio
import gzip
import json

import pytest

from tests.gateway.conftest import Door, opened, until
from tests.gateway.scripted import Asked, Script, ScriptedEngine, Wire, event, last, line, say, tell

pytestmark = pytest.mark.anyio
NDJSON = b"".join(json.dumps(each).encode() + b"\n" for each in (line("one"), line("two"), last(2)))


def raw(head: str, body: bytes, *, closes: bool = False) -> Script:
    async def script(asked: Asked, wire: Wire) -> None:
        await wire.raw(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        if closes:
            wire.keeps = False
            wire.writer.close()

    return script


def chunked(body: bytes, size: int, trailer: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


ANSWERS = {
    "no content-type": raw("HTTP/1.1 200 OK\ntransfer-encoding: chunked", chunked(NDJSON, 50)),
    "gzip": raw(
        "HTTP/1.1 200 OK\ncontent-encoding: gzip\ntransfer-encoding: chunked",
        chunked(gzip.compress(NDJSON), 20),
    ),
    "trailers": raw(
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ntrailer: x-sum",
        chunked(NDJSON, 1000, b"x-sum: 1\r\ncontent-type: text/html\r\n"),
    ),
    "HTTP/1.0": raw("HTTP/1.0 200 OK\ncontent-type: application/x-ndjson", NDJSON, closes=True),
    "closed without a length": raw("HTTP/1.1 200 OK\nconnection: close", NDJSON, closes=True),
    "with a length": raw(f"HTTP/1.1 200 OK\ncontent-length: {len(NDJSON)}", NDJSON),
    "one byte a chunk": raw("HTTP/1.1 200 OK\ntransfer-encoding: chunked", chunked(NDJSON, 1)),
    "after a 100": raw(f"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\ncontent-length: {len(NDJSON)}", NDJSON),
    "no last line end": raw(f"HTTP/1.1 200 OK\ncontent-length: {len(NDJSON) - 1}", NDJSON[:-1]),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_answers_in_any_frame_arrive(ollama: ScriptedEngine, name: str) -> None:
    ollama.script = ANSWERS[name]
    async with opened(ollama) as door:
        for _ in range(2):  # the connection is fit for the next one, or replaced
            async with door.chat() as reply:
                assert reply.status == 200
                got = await reply.read()
            assert got.strip() == NDJSON.strip()
        assert [each.output_tokens for each in door.gateway.seen.last] == [2, 2]


async def test_bytes_that_are_cut_between_segments(ollama: ScriptedEngine) -> None:
    """Also inside of a chunk's length, a character and the head."""
    text = "wörld 🙂"
    body = json.dumps(line(text), ensure_ascii=False).encode() + b"\n" + json.dumps(last(1)).encode() + b"\n"
    whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(body, 300)

    async def script(asked: Asked, wire: Wire) -> None:
        for at in range(0, len(whole), 7):
            await wire.raw(whole[at : at + 7])
            await asyncio.sleep(0)

    ollama.script = script
    async with opened(ollama) as door, door.chat() as reply:
        assert await reply.read() == body


PAGE = raw("HTTP/1.1 200 OK\ncontent-type: text/html\ncontent-length: 15", b"<html>hi</html>")
BAD_GATEWAY = raw("HTTP/1.1 502 Bad\ncontent-type: text/html\ncontent-length: 15", b"<html>hi</html>")
EMPTY = raw("HTTP/1.1 200 OK\ncontent-length: 0", b"")
NO_HTTP = raw("SSH-2.0-OpenSSH_9", b"", closes=True)
BROTLI = raw("HTTP/1.1 200 OK\ncontent-encoding: br\ncontent-length: 3", b"abc")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", [PAGE, BAD_GATEWAY, NO_HTTP, BROTLI], ids=["page", "502", "ssh", "br"])
async def test_what_is_no_answer_is_told_as_an_error(
    ollama: ScriptedEngine, script: Script, stream: bool
) -> None:
    ollama.script = script
    async with opened(ollama) as door, door.chat(stream=stream) as reply:
        assert reply.status in {502, 503}
        assert "error" in await reply.json()


async def test_a_stream_of_nothing_is_no_answer(ollama: ScriptedEngine) -> None:
    ollama.script = EMPTY
    async with opened(ollama) as door, door.chat() as reply:
        assert reply.status == 502
        assert "without an end" in (await reply.json())["error"]


def begun(how: str, api: str) -> Script:
    """A stream that stops after a word."""

    async def script(asked: Asked, wire: Wire) -> None:
        await wire.head(200, "application/x-ndjson" if api == "ollama" else "text/event-stream")
        await wire.chunk(line("one") if api == "ollama" else event({"content": "one"}))
        if how == "cut":
            wire.cut()
        elif how == "ended":
            await wire.end()
        elif how == "half a line":
            await wire.chunk('{"model":"m","mess' if api == "ollama" else 'data: {"choi')
            wire.cut()
        else:
            text = {"error": "out of memory"}
            await wire.chunk(text if api == "ollama" else f"data: {json.dumps(text)}\n\n")
            await wire.end()

    return script


@pytest.mark.parametrize("how", ["cut", "ended", "half a line", "error"])
@pytest.mark.parametrize("api", ["ollama", "openai"])
async def test_a_stream_that_breaks_ends_with_an_error_in_the_clients_shape(api: str, how: str) -> None:
    engine = ScriptedEngine(api, models=("m:latest" if api == "ollama" else "m",))
    engine.script = begun(how, api)
    async with opened(engine) as door:
        async with door.chat() if api == "ollama" else door.v1(stream=True) as reply:
            assert reply.status == 200
            got = (await reply.read()).decode()
        assert door.gateway.seen.last[0].outcome == "failed"
    assert "one" in got
    assert "[DONE]" not in got
    assert '"done":true' not in got.replace(" ", "")
    lines = [each for each in got.splitlines() if each.strip()]
    told = json.loads(lines[-1].removeprefix("data: "))
    assert told["error"]
    assert len(engine.seen) == 1, "a word was heard: it is not asked again"


@pytest.mark.parametrize("length", [True, False])
async def test_a_plain_answer_that_is_cut_is_an_error(ollama: ScriptedEngine, length: bool) -> None:
    whole = json.dumps(last()).encode()
    head = f"HTTP/1.1 200 OK\ncontent-length: {len(whole)}" if length else "HTTP/1.1 200 OK"
    ollama.script = raw(head, whole[:-9], closes=True)
    async with opened(ollama) as door, door.chat(stream=False) as reply:
        assert reply.status == 502
        assert "error" in await reply.json()


async def test_an_error_line_before_the_first_token_is_a_refusal(ollama: ScriptedEngine) -> None:
    async def script(asked: Asked, wire: Wire) -> None:
        await wire.head()
        await wire.chunk({"error": "the template cannot be rendered"})
        await wire.end()

    ollama.script = script
    async with opened(ollama) as door, door.chat() as reply:
        assert reply.status == 500
        assert "template" in (await reply.json())["error"]


async def test_one_that_is_busy_is_asked_again(ollama: ScriptedEngine) -> None:
    async def script(asked: Asked, wire: Wire) -> None:
        if len(ollama.seen) < 2:
            await wire.whole(
                {"error": "server busy, please try again.  maximum pending requests exceeded"}, 503
            )
        else:
            await tell("at last")(asked, wire)

    ollama.script = script
    async with opened(ollama) as door, door.chat() as reply:
        assert reply.status == 200
        assert b"at last" in await reply.read()


async def test_a_large_plain_answer_is_passed_on(ollama: ScriptedEngine) -> None:
    vectors = {"model": "m", "embeddings": [[0.123456789] * 500_000]}

    async def script(asked: Asked, wire: Wire) -> None:
        await wire.whole(vectors)

    ollama.script = script
    async with opened(ollama) as door, door.post("/api/embed", {"model": "m", "input": "x"}) as reply:
        assert len((await reply.json())["embeddings"][0]) == 500_000


async def test_a_slow_reader_slows_the_engine_down(ollama: ScriptedEngine) -> None:
    """The engine's bytes are not gathered in the gateway."""
    sent = 0

    async def script(asked: Asked, wire: Wire) -> None:
        nonlocal sent
        await wire.head()
        for _ in range(400):
            await wire.chunk(line("x" * 100_000))
            sent += 1
        await wire.chunk(last())
        await wire.end()

    ollama.script = script
    async with opened(ollama) as door, door.chat() as reply:
        await until(lambda: sent > 5)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 300
        got = await reply.read()
    assert got.count(b"\n") == 401


async def _loop_through(door: Door) -> int:
    via = door.gateway._via.decode()
    async with door.chat(headers={"via": f"1.0 other, {via}"}) as reply:
        assert "error" in await reply.json()
        return reply.status


async def test_a_request_that_came_from_here_is_refused(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        assert await _loop_through(door) == 508
    assert not ollama.seen


async def test_two_gateways_that_lead_to_each_other(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as inner, opened(inner.url) as outer:
        async with outer.chat() as reply:
            assert b"hello" in await reply.read()
        assert "via" in ollama.seen[0].headers
        inner.gateway.directory.engines[0].url = outer.url
        for flow in inner.gateway.admission.flows:
            await flow.close()
        inner.gateway.admission._flows.clear()
        async with outer.chat() as reply:
            assert reply.status >= 500
            assert "leads back here" in (await reply.json())["error"]


async def test_the_usage_that_we_ask_for_is_ours(openai: ScriptedEngine) -> None:
    openai.script = say("a")
    async with opened(openai) as door:
        async with door.v1(stream=True) as reply:
            assert b'"usage"' not in await reply.read()
        async with door.v1(stream=True, stream_options={"include_usage": True}) as reply:
            assert b'"usage"' in await reply.read()
        assert [each.prompt_tokens for each in door.gateway.seen.last] == [11, 11]
