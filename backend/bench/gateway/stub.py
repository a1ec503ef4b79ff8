"""A stub engine: speaks OpenAI or Ollama and answers at a set pace. `python -m bench.gateway.stub`."""

import argparse
import asyncio
import json
from typing import Any, cast

import httptools
import uvloop

from bench.gateway.pace import Pace, Wheel
from bench.gateway.scheduler import Scheduler

HEADS = {
    "openai": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    "ollama": b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
}


class Served(asyncio.Protocol):
    """One connection."""

    def __init__(self, stub: "Stub") -> None:
        self._stub = stub
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self._task is not None and not self._task.done():
            self._stub.pace.left += 1
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
        page = self._stub.page(self._url.decode())
        if page is not None:
            self._whole(page)
            return
        asked = json.loads(b"".join(self._body))
        self._task = asyncio.get_running_loop().create_task(self._answer(asked))

    def _whole(self, page: object) -> None:
        body = json.dumps(page).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)

    async def _answer(self, asked: dict[str, Any]) -> None:
        stub = self._stub
        options = asked.get("options") or {}
        words = int(asked.get("max_tokens") or options.get("num_predict") or stub.pace.words)
        say = self._say if asked.get("stream", stub.pace.api == "ollama") else self._say_at_once
        if stub.scheduler is None:
            await say(words)
            return
        async with stub.scheduler.loaded(str(asked["model"])):
            if asked.get("messages") or asked.get("prompt"):
                await say(words)
            else:
                self._whole({"model": asked["model"], "response": "", "done": True, "done_reason": "load"})

    async def _say(self, words: int) -> None:
        pace, write = self._stub.pace, self._transport.write
        async with pace.turn() as waited_s:
            await asyncio.sleep(pace.first_s)
            write(HEADS[pace.api] + pace.word)
            if self._stub.wheel is not None:
                await self._stub.wheel.turn(write, words - 1)
            else:
                for _ in range(words - 1):
                    await asyncio.sleep(pace.gap_now_s)
                    write(pace.word)
            write(pace.end(words, waited_s))
            pace.served += 1

    async def _say_at_once(self, words: int) -> None:
        pace = self._stub.pace
        async with pace.turn() as waited_s:
            await asyncio.sleep(pace.first_s)
            for _ in range(words - 1):
                await asyncio.sleep(pace.gap_now_s)
            self._whole(pace.whole(words, waited_s))
            pace.served += 1


class Stub:
    """An engine without a model. `scheduler` loads them in turns, `wheel` speaks for many streams at once."""

    def __init__(self, pace: Pace, *, scheduler: Scheduler | None = None, wheel: Wheel | None = None) -> None:
        self.pace = pace
        self.scheduler = scheduler
        self.wheel = wheel
        self.models = scheduler.models if scheduler is not None else ("m",)

    def page(self, path: str) -> object | None:
        """What is answered at once; None for a call."""
        if path == "/figures":
            loads = self.scheduler.loads if self.scheduler is not None else 0
            return {**self.pace.figures(), "loads": loads}
        if path in {"/health", "/get_server_info", "/get_model_info", "/server_info"}:
            return {}
        if self.pace.api == "openai":
            known: dict[str, object] = {
                "/v1/models": {"object": "list", "data": [{"id": "m", "object": "model"}]}
            }
            return known.get(path) or (None if path.startswith("/v1/") else {})
        tags = [_tag(model) for model in self.models]
        loaded = self.scheduler.resident if self.scheduler is not None else self.models
        running = [
            {**_tag(model), "context_length": 8192, "expires_at": "2318-01-01T00:00:00Z"} for model in loaded
        ]
        return {
            "/api/version": {"version": "0.20.0"},
            "/api/tags": {"models": tags},
            "/api/ps": {"models": running},
            "/api/show": {"parameters": "", "capabilities": ["completion"], "details": {}, "model_info": {}},
        }.get(path)

    async def serve(self, port: int) -> None:
        """Until it is killed."""
        loop = asyncio.get_running_loop()
        if self.wheel is not None:
            self.wheel.start(loop)
        server = await loop.create_server(lambda: Served(self), "127.0.0.1", port, backlog=4096)
        await server.serve_forever()


def _tag(model: str) -> dict[str, object]:
    name = f"{model}:latest"
    return {"name": name, "model": name, "digest": f"d-{model}", "size": 1, "details": {}}


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api", default="openai")
    parser.add_argument("--slots", type=int, default=0, help="at once; 0: all")
    parser.add_argument("--first-s", type=float, default=0.01)
    parser.add_argument("--gap-s", type=float, default=0.03)
    parser.add_argument("--words", type=int, default=10)
    parser.add_argument("--knee", type=int, default=0, help="more than so many at once make each slower")
    parser.add_argument("--models", default="", help="a,b: one of them is loaded at a time")
    parser.add_argument("--load-s", type=float, default=1.0)
    parser.add_argument("--wheel", type=int, default=0, help="1: all streams speak by one clock")
    given = parser.parse_args()
    pace = Pace(
        given.api,
        slots=given.slots,
        first_s=given.first_s,
        gap_s=given.gap_s,
        words=given.words,
        knee=given.knee,
    )

    async def run() -> None:
        models = tuple(given.models.split(",")) if given.models else ()
        stub = Stub(
            pace,
            scheduler=Scheduler(models, given.load_s) if models else None,
            wheel=Wheel(given.gap_s, pace.word) if given.wheel else None,
        )
        await stub.serve(given.port)

    uvloop.run(run())


if __name__ == "__main__":
    main()
