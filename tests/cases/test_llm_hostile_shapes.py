"""Engines and proxies in shapes that nobody listed: what they send, and where they send us."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from fluido.errors import EngineUnavailable
from fluido.llm import Dispatcher, EngineBusy, OllamaEngine, OpenAIEngine, StreamBroken
from tests.cases.engine_shapes import Body, OpenAIShape, running
from tests.llm.asking import answer

pytestmark = pytest.mark.anyio


# words after the reason


class SaysWhyAllAlong(OpenAIShape):
    """A server whose every chunk has a finish reason, and that takes its time between them."""

    pause_s = 0.3
    words = 6

    async def stream(self, request: web.Request, body: Body) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(self.words):
            await self.say(
                response, {"choices": [{"delta": {"content": f"{number} "}, "finish_reason": "stop"}]}
            )
            await asyncio.sleep(self.pause_s)
        await response.write(b"data: [DONE]\n\n")
        return response


async def test_an_answer_is_not_over_while_words_come_whatever_reason_they_bring() -> None:
    """After the first reason only a second was listened: the rest of the answer was lost, as a success."""
    async with running(SaysWhyAllAlong()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        assert (await answer(dispatcher))[0] == "0 1 2 3 4 5 "


# events without an end


class Endless(OpenAIShape):
    """One event after the other line, none of which ends it."""

    line = b"data: x\n"

    async def stream(self, request: web.Request, body: Body) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(400):
            await response.write(self.line * (1000 if len(self.line) < 100 else 1))
        return response


DEEP = b'data: {"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n"


@pytest.mark.parametrize("line", [b"data: x\n", b"data: }\n", b"data: {\n", DEEP])
async def test_an_event_without_an_end_is_given_up_at_once(line: bytes) -> None:
    shape = Endless()
    shape.line = line
    async with running(shape) as server:
        engine = OpenAIEngine(server.url)
        async with Dispatcher([engine]) as dispatcher:
            async with asyncio.timeout(30.0):
                with pytest.raises((StreamBroken, EngineUnavailable)):
                    await answer(dispatcher)


async def test_json_over_many_lines_is_still_read() -> None:
    class Pretty(OpenAIShape):
        async def say(self, response: web.StreamResponse, chunk: Body) -> None:
            lines = json.dumps(chunk, indent=1).encode().split(b"\n")
            await response.write(b"".join(b"data: " + line + b"\n" for line in lines) + b"\n")

    async with running(Pretty()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        assert (await answer(dispatcher))[0] == "w0 w1 w2 w3 w4 "


# answers to questions


class Talkative(OpenAIShape):
    """Its list of models has no end."""

    sent = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/v1/models":
            return await super().handle(request)
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b'{"data": [' + b" " * (1 << 20))
            self.sent += 1
        return response


@pytest.mark.parametrize("listing", [b"[" * 100_000, b'{"data":' * 100_000])
async def test_brackets_without_an_end_are_no_answer(listing: bytes) -> None:
    class Nested(OpenAIShape):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            return web.Response(body=listing)

    async with running(Nested()) as server:
        engine = OpenAIEngine(server.url)
        await engine.open()
        try:
            with pytest.raises(EngineUnavailable, match="lists no models"):
                await engine.facts()
        finally:
            await engine.close()


async def test_a_question_is_not_answered_with_a_gigabyte() -> None:
    async with running(Talkative()) as server:
        engine = OpenAIEngine(server.url, ask_s=30.0)
        await engine.open()
        try:
            with pytest.raises(EngineUnavailable, match="answers a question with more than"):
                await engine.facts()
            assert server.sent < 100
        finally:
            await engine.close()


# where questions are sent


class Redirecting(OpenAIShape):
    """Every GET is answered with another place."""

    place = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and self.place and not request.path.startswith("/moved"):
            self.paths.append(request.path)
            return web.Response(status=302, headers={"Location": self.place + request.path})
        return await super().handle(request)


async def test_a_question_shows_our_headers_to_no_other_host() -> None:
    """A key in a header of one's own was sent wherever a redirect pointed."""
    async with running(OpenAIShape()) as stranger, running(Redirecting()) as server:
        server.place = stranger.url.replace("127.0.0.1", "localhost")
        engine = OpenAIEngine(server.url, headers={"X-Key": "s3cret"})
        await engine.open()
        try:
            with pytest.raises(EngineUnavailable, match="give that address instead"):
                await engine.facts()
        finally:
            await engine.close()
        assert server.headers or server.paths
        assert stranger.headers == [], "nobody asked the stranger"


async def test_a_question_follows_a_moved_path_of_the_same_host() -> None:
    class Moved(Redirecting):
        def routes(self) -> dict[str, object]:  # type: ignore[override]
            return {"/moved/v1/models": lambda: {"object": "list", "data": [{"id": "m"}]}}

    async with running(Moved()) as server:
        server.place = "/moved"
        engine = OpenAIEngine(server.url)
        await engine.open()
        try:
            assert (await engine.facts()).model == "m"
        finally:
            await engine.close()


# a company's proxy


@pytest.fixture
async def proxy() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that lets nobody through; the URL, and the first lines that it was sent."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


@pytest.fixture
def through(proxy: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    url, asked = proxy
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return asked


async def test_a_hosted_api_is_reached_through_the_proxy_of_the_environment(through: list[bytes]) -> None:
    """As openai and ollama (httpx) do; without it an engine outside a company's wall was never reached."""
    engine = OpenAIEngine("https://hosted.example/v1", api_key="k")
    await engine.open()
    try:
        with pytest.raises(EngineUnavailable):
            await engine.facts()
    finally:
        await engine.close()
    assert through[0].startswith(b"CONNECT hosted.example:443")


@pytest.mark.parametrize("kind", [OpenAIEngine, OllamaEngine])
async def test_an_engine_at_home_is_reached_directly(kind: type[OpenAIEngine], through: list[bytes]) -> None:
    async with running(OpenAIShape()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        assert (await answer(dispatcher))[0]
    assert through == []


# a connection that the server has given up


@asynccontextmanager
async def hangs_up_after_each(served: list[str]) -> AsyncIterator[str]:
    """A server that answers one request a connection, says `keep-alive`, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line[15:])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            await reader.readexactly(length)
            path = head.split(b" ")[1].decode()
            served.append(path)
            pages = {
                "/api/version": {"version": "0.20.0"},
                "/api/tags": {"models": [{"name": "m:latest", "digest": "d"}]},
                "/api/ps": {"models": []},
                "/api/show": {"capabilities": ["completion"]},
            }
            body = json.dumps(pages.get(path, {})).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            writer.write(body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_question_that_is_a_post_survives_a_connection_that_was_given_up() -> None:
    """`/api/show` is a POST: what the HTTP client itself repeats are GETs only."""
    served: list[str] = []
    async with hangs_up_after_each(served) as url:
        engine = OllamaEngine(url, model="m")
        await engine.open()
        try:
            for _ in range(5):
                assert (await engine.facts()).kind == "ollama"
        finally:
            await engine.close()
    assert served.count("/api/show") >= 5


# statuses of proxies and hosted APIs


class Answers(OpenAIShape):
    """One status to every call."""

    status = 200
    text = "overloaded"

    async def stream(self, request: web.Request, body: Body) -> web.StreamResponse:
        return web.json_response({"error": {"message": self.text}}, status=self.status)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (529, EngineBusy),
        (429, EngineBusy),
        (502, EngineUnavailable),
        (521, EngineUnavailable),
        (522, EngineUnavailable),
    ],
)
async def test_overloaded_is_busy_and_nobody_behind_the_proxy_is_away(
    status: int, kind: type[Exception]
) -> None:
    shape = Answers()
    shape.status = status
    async with running(shape) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        with pytest.raises(kind) as caught:
            await answer(dispatcher)
        assert type(caught.value) is kind
        assert (dispatcher.stations[0].health.downs > 0) is (kind is EngineUnavailable)
