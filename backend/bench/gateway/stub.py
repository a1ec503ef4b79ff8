"""A stub engine: speaks OpenAI or Ollama and answers at a set pace. `python -m bench.gateway.stub`."""

import argparse
import asyncio
import json
from typing import Any, cast

import httptools
import uvloop

HEADS = {
    "openai": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    "ollama": b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
}
WORD = " word"


def chunk(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _json(value: object) -> bytes:
    """Without blanks, as engines write it."""
    return json.dumps(value, separators=(",", ":")).encode()


def _sse(delta: dict[str, str], finish: str | None, usage: dict[str, int] | None = None) -> bytes:
    body: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    body["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}] if usage is None else []
    if usage is not None:
        body["usage"] = usage
    return b"data: " + _json(body) + b"\n\n"


def _line(content: str, **end: object) -> bytes:
    said = {"role": "assistant", "content": content}
    body = {"model": "m:latest", "created_at": "2026-01-01T00:00:00Z", "message": said, "done": bool(end)}
    return _json({**body, **end}) + b"\n"


class Pace:
    """How the stub answers: `slots` at once (0: all), the prompt in `first_s`, then a word every `gap_s`."""

    def __init__(self, api: str, *, slots: int, first_s: float, gap_s: float, words: int) -> None:
        self.api = api
        self.slots = slots
        self.first_s = first_s
        self.gap_s = gap_s
        self.words = words
        self.inflight = self.peak = self.left = self.served = 0
        self.permits = asyncio.Semaphore(slots or 1_000_000)
        self.word = chunk(_sse({"content": WORD}, None) if api == "openai" else _line(WORD))

    def end(self, words: int) -> bytes:
        """The last bytes of a stream."""
        if self.api == "ollama":
            times = {"total_duration": 1, "prompt_eval_duration": int(self.first_s * 1e9) + 1}
            counts = {
                "prompt_eval_count": 10,
                "eval_count": words,
                "eval_duration": int(words * self.gap_s * 1e9) + 1,
            }
            last = _line("", done=True, done_reason="stop", **times, **counts)
            return chunk(last) + b"0\r\n\r\n"
        usage = {"prompt_tokens": 10, "completion_tokens": words, "total_tokens": 10 + words}
        last = _sse({}, "stop") + _sse({}, None, usage) + b"data: [DONE]\n\n"
        return chunk(last) + b"0\r\n\r\n"


class Served(asyncio.Protocol):
    """One connection."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self._task is not None and not self._task.done():
            self._pace.left += 1
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        page = self._page(self._url.decode())
        if page is not None:
            self._whole(page)
            return
        asked = json.loads(b"".join(self._body))
        self._task = asyncio.get_running_loop().create_task(self._answer(asked))

    def _whole(self, page: object, status: int = 200) -> None:
        body = json.dumps(page).encode()
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)

    def _page(self, path: str) -> object | None:
        pace = self._pace
        if path == "/figures":
            return {"inflight": pace.inflight, "peak": pace.peak, "left": pace.left, "served": pace.served}
        if path in {"/health", "/get_server_info", "/get_model_info", "/server_info"}:
            return {}
        if pace.api == "openai":
            known: dict[str, object] = {
                "/v1/models": {"object": "list", "data": [{"id": "m", "object": "model"}]}
            }
            return known.get(path) or (None if path.startswith("/v1/") else {})
        tag = {"name": "m:latest", "model": "m:latest", "digest": "d", "size": 1, "details": {}}
        loaded = {**tag, "context_length": 8192, "expires_at": "2318-01-01T00:00:00Z"}
        return {
            "/api/version": {"version": "0.20.0"},
            "/api/tags": {"models": [tag]},
            "/api/ps": {"models": [loaded]},
            "/api/show": {"parameters": "", "capabilities": ["completion"], "details": {}, "model_info": {}},
        }.get(path)

    async def _answer(self, asked: dict[str, Any]) -> None:
        pace = self._pace
        words = int(asked.get("max_tokens") or (asked.get("options") or {}).get("num_predict") or pace.words)
        async with pace.permits:
            pace.inflight += 1
            pace.peak = max(pace.peak, pace.inflight)
            try:
                await asyncio.sleep(pace.first_s)
                self._transport.write(HEADS[pace.api] + pace.word)
                for _ in range(words - 1):
                    await asyncio.sleep(pace.gap_s)
                    self._transport.write(pace.word)
                self._transport.write(pace.end(words))
                pace.served += 1
            finally:
                pace.inflight -= 1


async def serve(pace: Pace, port: int) -> None:
    """Until it is killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Served(pace), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api", default="openai")
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--first-s", type=float, default=0.01)
    parser.add_argument("--gap-s", type=float, default=0.03)
    parser.add_argument("--words", type=int, default=10)
    given = parser.parse_args()

    async def run() -> None:
        pace = Pace(given.api, slots=given.slots, first_s=given.first_s, gap_s=given.gap_s, words=given.words)
        await serve(pace, given.port)

    uvloop.run(run())


if __name__ == "__main__":
    main()
