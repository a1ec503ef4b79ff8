"""How servers and the proxies in front of them write: each shape on a socket, byte by byte."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from fluido.errors import EngineUnavailable
from fluido.llm import (
    Call,
    CallRejected,
    Dispatcher,
    ModelMissing,
    OllamaEngine,
    OpenAIEngine,
    StreamBroken,
    Timings,
)
from fluido.llm._errors import CallFailed, EngineBusy
from tests.cases.engine_shapes import Body, OllamaShape, running
from tests.llm.asking import answer, ask

pytestmark = pytest.mark.anyio
LISTING = {"object": "list", "data": [{"id": "m"}]}


def http(body: bytes, status: str = "200 OK", kind: str = "text/event-stream", **headers: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{more}Connection: close\r\n\r\n"
    ).encode() + body


def page(text: str, status: str) -> bytes:
    return http(f"<html><head><title>{text}</title></head><hr>nginx".encode(), status, "text/html")


def as_json(value: object, status: str = "200 OK", **headers: str) -> bytes:
    return http(json.dumps(value).encode(), status, "application/json", **headers)


def chunk(content: object = None, finish: str | None = None, **delta: object) -> dict[str, object]:
    if content is not None:
        delta["content"] = content
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def said(*events: object, end: str = "\n\n", done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(event, ensure_ascii=False)}" for event in events]
    return (end.join([*lines, *(["data: [DONE]"] if done else [])]) + end).encode()


WORDS = (chunk("", role="assistant"), chunk("ño "), chunk("€"), chunk(finish="stop"))
PLAIN = said(*WORDS)


class Socket:
    """A server of raw bytes: `chat` are the pieces that a call gets, `pages` what other paths get."""

    def __init__(self, *chat: bytes, pages: dict[str, bytes] | None = None) -> None:
        self.chat = list(chat)
        self.pages = {"/v1/models": as_json(LISTING), **(pages or {})}
        self.asked: list[tuple[str, str, bytes]] = []
        self.heads: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length")]
            body = await reader.readexactly(int(lengths[0].split(":")[1]) if lengths else 0)
            self.asked.append((method, path, body))
            self.heads.append(head)
            for piece in self.reply(method, path):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def reply(self, method: str, path: str) -> list[bytes]:
        if path in self.pages:
            return [self.pages[path]]
        if method == "POST" and path.endswith("/chat/completions"):
            return self.chat
        return [page("404 Not Found", "404 Not Found")]


@asynccontextmanager
async def listening(server: Socket) -> AsyncIterator[Socket]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()


async def told(server: Socket, call: Call | None = None) -> tuple[str, Timings]:
    async with listening(server), Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        return await answer(dispatcher, call)


# what an answer may look like

ANSWERS = {
    "as most": PLAIN,
    "CRLF": said(*WORDS, end="\r\n\r\n"),
    "a mark at the beginning": b"\xef\xbb\xbf" + PLAIN,
    "no empty lines between": said(*WORDS, end="\n"),
    "no space behind the colon": PLAIN.replace(b"data: ", b"data:"),
    "comments and pings": b": OPENROUTER PROCESSING\n\n"
    + PLAIN.replace(b"data", b': ping\n\nevent: ping\ndata: {"type":"ping"}\n\ndata', 1),
    "empty data": b"data:\n\ndata: \n\n" + PLAIN,
    "data of several lines": PLAIN.replace(b'{"choices"', b'{\ndata: "choices"'),
    "empty choices": said({"choices": [], "prompt_filter_results": [{}]}, *WORDS, {"choices": []}),
    "no reason, but said to be done": said(*WORDS[:-1]),
    "not said to be done": said(*WORDS, done=False),
    "no choices at the end, usage null": said(*WORDS, {"choices": [], "usage": None}),
    "numbers that are none": said(*WORDS, {"choices": [], "usage": {"prompt_tokens": 1e999}}).replace(
        b"Infinity", b"1e999"
    ),
    "a list of parts": said(
        chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
        chunk([{"type": "text", "text": "ño €"}]),
        chunk(finish="stop"),
    ),
    "a refusal": said(chunk(refusal="ño €"), chunk(finish="stop")),
    "a message where a delta belongs": said(
        {"choices": [{"message": {"role": "assistant", "content": "ño €"}, "finish_reason": "stop"}]}
    ),
}


@pytest.mark.parametrize("shape", ANSWERS)
@pytest.mark.parametrize("size", [1, 10_000])
async def test_an_answer_is_read_however_it_is_written(shape: str, size: int) -> None:
    whole = http(ANSWERS[shape])
    text, end = await told(Socket(*(whole[i : i + size] for i in range(0, len(whole), size))))
    assert (text, end.finish_reason) == ("ño €", "stop")
    assert end.output_tokens >= 1


TRANSPORTS = {
    "HTTP/1.0, ended by closing": b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + PLAIN,
    "gzip": http(gzip.compress(PLAIN), Content_Encoding="gzip"),
    "no content type": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PLAIN,
    "cut inside of a letter": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (PLAIN[:83], PLAIN[83:84], PLAIN[84:]))
    + b"0\r\n\r\n",
    "not streamed": as_json(
        {"choices": [{"message": {"content": "ño €"}, "finish_reason": "stop"}], "usage": None}
    ),
}


@pytest.mark.parametrize("shape", TRANSPORTS)
async def test_an_answer_is_read_however_it_is_sent(shape: str) -> None:
    assert (await told(Socket(TRANSPORTS[shape])))[0] == "ño €"


async def test_what_a_filter_ended_says_so() -> None:
    text, end = await told(Socket(http(said(chunk("ño"), chunk(finish="content_filter")))))
    assert (text, end.finish_reason) == ("ño", "content_filter")


# what is no answer


@pytest.mark.parametrize(
    ("reply", "kind", "sentence"),
    [
        (page("502 Bad Gateway", "502 Bad Gateway"), EngineUnavailable, "502 Bad Gateway$"),
        (page("504 Gateway Time-out", "504 Gateway Timeout"), StreamBroken, "raise its read timeout"),
        (page("x | 524: A timeout occurred", "524 Origin"), StreamBroken, "524: A timeout"),
        (page("500 Internal Server Error", "500 Error"), CallFailed, "500 Internal Server Error$"),
        (page("Welcome", "200 OK"), EngineUnavailable, "answers no JSON to /v1/chat/completions"),
        (as_json({"error": "out of memory"}), CallFailed, "out of memory"),
        (as_json({"error": {"message": "bad", "code": 400}}), CallRejected, "bad"),
        (
            as_json({"error": "could not find real modelID for m2"}, "400 Bad Request"),
            ModelMissing,
            "near names: m",
        ),
        (as_json({"error": {"message": "quota"}}, "429 Too Many", Retry_After="90"), EngineBusy, "quota"),
        (
            as_json({"error": "key"}, "401 Unauthorized", WWW_Authenticate="Bearer"),
            EngineUnavailable,
            "wants a key",
        ),
    ],
)
async def test_a_refusal_says_what_it_is_in_short(reply: bytes, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        await told(Socket(reply), ask(model="m2") if kind is ModelMissing else ask())
    assert "<" not in str(caught.value)
    if kind is EngineBusy:
        assert caught.value.retry_after_s == 90.0  # type: ignore[attr-defined]


async def test_one_gateway_timeout_is_no_engine_that_is_down() -> None:
    """nginx gives up after 60 s: the engine works on, and others are served."""
    server = Socket(page("504 Gateway Time-out", "504 Gateway Timeout"))
    async with listening(server), Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        with pytest.raises(StreamBroken):
            await answer(dispatcher, ask(key="a"))
        server.chat = [http(PLAIN)]
        assert dispatcher.stations[0].health.downs == 0
        assert (await answer(dispatcher, ask(key="b")))[0] == "ño €"


async def test_a_call_that_a_filter_forbids_is_that_calls_matter() -> None:
    """A web firewall answers 403 to some texts; before anything was answered it would be the key."""
    server = Socket(http(PLAIN))
    async with listening(server), Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        await answer(dispatcher)
        server.chat = [page("Attention Required!", "403 Forbidden")]
        with pytest.raises(CallRejected, match="Attention Required"):
            await answer(dispatcher, ask("' OR 1=1"))
        assert dispatcher.stats().up == (True,)


# where it is


@pytest.mark.parametrize("status", ["307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_moved_path_of_the_same_host_is_followed(status: str) -> None:
    moved = http(b"", status, Location="/v1/chat/completions/")
    server = Socket(pages={"/v1/chat/completions": moved, "/v1/chat/completions/": http(PLAIN)})
    assert (await told(server))[0] == "ño €"
    assert [json.loads(body)["stream"] for method, _, body in server.asked if method == "POST"] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    "place", ["https://127.0.0.1:1/v1/chat/completions", "http://elsewhere.invalid/x?key=s3"]
)
async def test_a_redirect_that_would_lose_the_call_or_show_it_names_the_address(place: str) -> None:
    status = "301 Moved Permanently" if "127" in place else "307 Temporary Redirect"
    with pytest.raises(EngineUnavailable, match=r"redirects to http.*give that address") as caught:
        await told(Socket(http(b"", status, Location=place)))
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("path", ["/v1beta/openai/", "/api/paas/v4", "/openai/deployments/x"])
async def test_an_address_without_v1_is_taken_as_other_clients_take_it(path: str) -> None:
    root = path.rstrip("/")
    for listing in (as_json(LISTING), page("404 Not Found", "404 Not Found")):
        pages = {
            "/v1/models": page("404 Not Found", "404 Not Found"),
            "/v1/chat/completions": page("404 Not Found", "404 Not Found"),
            f"{root}/models": listing,
        }

        class Hosted(Socket):
            def reply(self, method: str, path: str) -> list[bytes]:
                is_empty = self.asked[-1][2] == b"{}"
                if path == f"{root}/chat/completions" and is_empty:
                    return [as_json({"error": {"message": "messages is required"}}, "400 Bad Request")]
                if path.startswith(f"{root}/v1"):
                    return [page("404 Not Found", "404 Not Found")]
                return super().reply(method, path)

        server = Hosted(http(PLAIN), pages=pages)
        async with listening(server), Dispatcher([OpenAIEngine(server.url + path, model="m")]) as dispatcher:
            for _ in range(2):
                assert (await answer(dispatcher))[0] == "ño €"
        assert json.loads(server.asked[-1][2])["model"] == "m"


async def test_a_list_alone_is_a_listing() -> None:
    """Together's `/v1/models`."""
    server = Socket(http(PLAIN), pages={"/v1/models": as_json([{"id": "t/m", "context_length": 77}])})
    async with listening(server), Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        assert (await answer(dispatcher))[1].model == "t/m"
        assert dispatcher.stats().engines[0].context_tokens == 77  # type: ignore[union-attr]


# Ollama


class Cloud(OllamaShape):
    """An Ollama with a model of its own and one that it passes on; that one is never loaded."""

    def __init__(self) -> None:
        super().__init__("m:latest", "big:cloud")
        self.signed_in = True

    def show(self, body: Body) -> object:
        name = self.full(body["model"])
        remote = {"remote_host": "https://ollama.com", "remote_model": "big"} if name == "big:cloud" else {}
        return {"capabilities": ["completion"], **remote}

    async def chat(self, request, body: Body):  # type: ignore[no-untyped-def]
        if body["model"] != "big:cloud":
            return await super().chat(request, body)
        was = self.loaded
        if not body["messages"]:
            return self.refused(400, "messages are required")
        if not self.signed_in:
            return self.refused(401, "unauthorized")
        try:
            return await super().chat(request, body)
        finally:
            self.loaded = was

    def refused(self, status: int, text: str):  # type: ignore[no-untyped-def]
        return web.json_response({"error": text}, status=status)


@pytest.mark.parametrize("default", ["big:cloud", "m"])
async def test_a_model_of_a_cloud_is_asked_and_never_loaded(default: str) -> None:
    async with (
        running(Cloud()) as server,
        Dispatcher([OllamaEngine(server.url, model=default)]) as dispatcher,
    ):
        for _ in range(3):
            assert (await answer(dispatcher, ask(model="big:cloud")))[0] == "ok"
        assert not [body for body in server.bodies if not body["messages"] and body["model"] == "big:cloud"]
        server.signed_in = False
        with pytest.raises(CallRejected, match="cloud refused"):
            await answer(dispatcher, ask(model="big:cloud"))
        assert dispatcher.stats().up == (True,)
        assert (await answer(dispatcher, ask(model="m")))[0] == "ok", "the local one is served on"


async def test_ollamas_lines_in_any_cut_behind_a_mark() -> None:
    lines = [
        {"message": {"content": "ño "}, "done": False},
        {"message": {"content": "€"}, "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "stop"},
    ]
    body = b"\xef\xbb\xbf" + "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()
    whole = http(body, kind="application/x-ndjson")
    server = Socket(pages={})
    server.pages = {
        "/api/version": as_json({"version": "0.20.0"}),
        "/api/show": as_json({"capabilities": ["completion"]}),
        "/api/tags": as_json({"models": [{"name": "m:latest", "digest": "d"}]}),
        "/api/ps": as_json({"models": [{"name": "m:latest", "context_length": 4096}]}),
        "/api/chat": whole,
    }
    async with listening(server), Dispatcher([OllamaEngine(server.url, model="m")]) as dispatcher:
        assert (await answer(dispatcher))[0] == "ño €"
        server.pages["/api/chat"] = page("504 Gateway Time-out", "504 Gateway Timeout")
        with pytest.raises(StreamBroken, match="read timeout"):
            await answer(dispatcher)
        server.pages["/api/chat"] = as_json({"error": "slow down"}, "429 Too Many", Retry_After="90")
        with pytest.raises(EngineBusy):
            await answer(dispatcher)
        assert dispatcher.stats().up == (True,)
