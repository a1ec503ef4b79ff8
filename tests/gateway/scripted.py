"""Engines of a script, at the level of bytes: what they send, when, and how they break is up to the test."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import httptools

Script = Callable[["Asked", "Wire"], Awaitable[None]]
NANO = 10**9


@dataclass
class Asked:
    """A request as the engine saw it."""

    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> dict:
        return json.loads(self.body)


class Wire:
    """The engine's end of one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.left = asyncio.Event()
        self.keeps = True

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, media: str = "application/x-ndjson", *more: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-type: {media}", *more, "transfer-encoding: chunked"]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def chunk(self, data: bytes | str | dict) -> None:
        if isinstance(data, dict):
            data = json.dumps(data) + "\n"
        if isinstance(data, str):
            data = data.encode()
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def whole(self, data: dict | bytes, status: int = 200, media: str = "application/json") -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        await self.raw(
            f"HTTP/1.1 {status} X\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def cut(self) -> None:
        """As a process that is killed."""
        self.writer.transport.abort()


class _Parsed:
    def __init__(self) -> None:
        self.asked = Asked()
        self.done = False

    def on_url(self, url: bytes) -> None:
        self.asked.path = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.asked.headers[name.decode().lower()] = value.decode()

    def on_body(self, data: bytes) -> None:
        self.asked.body += data

    def on_message_complete(self) -> None:
        self.done = True


class ScriptedEngine:
    """An Ollama or an OpenAI server. `script` answers what is to be computed, and may do so badly."""

    def __init__(self, api: str = "ollama", *, models: tuple[str, ...] = ("m:latest",)) -> None:
        self.api = api
        self.models = models
        self.resident = list(models[:1])
        self.room = len(models)
        self.loads: list[str] = []
        self.load_s = 0.0
        self.script: Script = tell("hello") if api == "ollama" else say("hello")
        self.seen: list[Asked] = []
        self.inflight = self.peak = 0
        self.left = 0
        """Calls whose client went before the answer was complete."""
        self.more: dict[str, object] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """As kill -9: every connection breaks, and nobody answers any more."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        parsed = _Parsed()
        parser = httptools.HttpRequestParser(parsed)
        while not parsed.done:
            data = await reader.read(65536)
            if not data:
                return False
            parser.feed_data(data)
        parsed.asked.method = parser.get_method().decode()
        wire = Wire(writer)
        watch = asyncio.ensure_future(self._watch(reader, wire))
        try:
            await self._answer(parsed.asked, wire)
        finally:
            watch.cancel()
            await asyncio.wait({watch})
        return wire.keeps and not wire.left.is_set() and not writer.is_closing()

    async def _watch(self, reader: asyncio.StreamReader, wire: Wire) -> None:
        with suppress(ConnectionError):
            while reader._buffer == b"" and not reader.at_eof():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        if reader.at_eof():
            wire.left.set()

    async def _answer(self, asked: Asked, wire: Wire) -> None:
        path = asked.path
        known = self.ollama_page(asked) if self.api == "ollama" else self.openai_page(asked)
        if path in self.more:
            known = self.more[path]
        if known is not None:
            await wire.whole(known)
            return
        if asked.method != "POST" or not path.startswith(("/api/", "/v1/")):
            await wire.whole({"error": {"message": "no such page"}}, 404)
            return
        if self.api == "ollama":
            await self.load(asked.json.get("model", ""))
            if not (asked.json.get("messages") or asked.json.get("prompt") or asked.json.get("input")):
                await wire.whole({"model": asked.json["model"], "done": True, "done_reason": "load"})
                return
        self.seen.append(asked)
        self.inflight += 1
        self.peak = max(self.peak, self.inflight)
        script = asyncio.ensure_future(self.script(asked, wire))
        left = asyncio.ensure_future(wire.left.wait())
        try:
            await asyncio.wait({script, left}, return_when=asyncio.FIRST_COMPLETED)
            if not script.done():
                self.left += 1
            else:
                await script
        finally:
            self.inflight -= 1
            for task in (script, left):
                task.cancel()

    async def load(self, model: str) -> None:
        """As Ollama: unloads what does not fit beside it, the oldest first."""
        model = model if ":" in model else f"{model}:latest"
        if model in self.resident:
            self.resident.remove(model)
            self.resident.append(model)
            return
        await asyncio.sleep(self.load_s)
        self.loads.append(model)
        self.resident.append(model)
        del self.resident[: max(0, len(self.resident) - self.room)]

    def ollama_page(self, asked: Asked) -> object:
        entries = [{"name": m, "model": m, "digest": f"d-{m}", "size": 1, "details": {}} for m in self.models]
        if asked.path == "/api/show":
            return {"parameters": "", "capabilities": ["completion"], "details": {}, "model_info": {}}
        running = [
            {"name": m, "model": m, "context_length": 4096, "expires_at": "2318-01-01T00:00:00Z"}
            for m in self.resident
        ]
        return {
            "/api/version": {"version": "0.20.0"},
            "/api/tags": {"models": entries},
            "/api/ps": {"models": running},
        }.get(asked.path)

    def openai_page(self, asked: Asked) -> object:
        if asked.path == "/v1/models":
            return {"object": "list", "data": [{"id": m, "object": "model"} for m in self.models]}
        return None


def line(content: str, **more: object) -> dict:
    return {"model": "m:latest", "message": {"role": "assistant", "content": content}, "done": False, **more}


def last(tokens: int = 3) -> dict:
    return {
        **line(""),
        "done": True,
        "done_reason": "stop",
        "total_duration": NANO // 10,
        "load_duration": 0,
        "prompt_eval_count": 11,
        "prompt_eval_duration": NANO // 100,
        "eval_count": tokens,
        "eval_duration": NANO // 20,
    }


def tell(*words: str, gap_s: float = 0.0, first_s: float = 0.0) -> Script:
    """An Ollama's answer of some words, streamed or in one piece."""

    async def script(asked: Asked, wire: Wire) -> None:
        await asyncio.sleep(first_s)
        if asked.path in {"/api/embed", "/api/embeddings"}:
            await wire.whole({"model": "m:latest", "embeddings": [[0.1, 0.2]], "prompt_eval_count": 3})
            return
        if asked.json.get("stream") is False:
            await asyncio.sleep(gap_s * len(words))
            await wire.whole(
                {**last(len(words)), "message": {"role": "assistant", "content": "".join(words)}}
            )
            return
        await wire.head()
        for word in words:
            await wire.chunk(line(word))
            await asyncio.sleep(gap_s)
        await wire.chunk(last(len(words)))
        await wire.end()

    return script


def event(delta: dict, finish: str | None = None) -> str:
    chunk = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return f"data: {json.dumps(chunk)}\n\n"


USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}


def say(*words: str, gap_s: float = 0.0, first_s: float = 0.0) -> Script:
    """An OpenAI server's answer of some words, streamed or in one piece."""

    async def script(asked: Asked, wire: Wire) -> None:
        await asyncio.sleep(first_s)
        if not asked.json.get("stream"):
            await asyncio.sleep(gap_s * len(words))
            message = {"role": "assistant", "content": "".join(words)}
            await wire.whole(
                {
                    "id": "c1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "m",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": USAGE,
                }
            )
            return
        await wire.head(200, "text/event-stream")
        await wire.chunk(event({"role": "assistant", "content": ""}))
        for word in words:
            await wire.chunk(event({"content": word}))
            await asyncio.sleep(gap_s)
        await wire.chunk(event({}, "stop"))
        if (asked.json.get("stream_options") or {}).get("include_usage"):
            usage = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            await wire.chunk(f"data: {json.dumps({**usage, 'choices': [], 'usage': USAGE})}\n\n")
        await wire.chunk("data: [DONE]\n\n")
        await wire.end()

    return script
