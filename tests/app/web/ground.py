"""Sentinel for a browser: real servers, a scripted engine whose answer a test chooses by its question."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import uvicorn
from aiohttp import web

from app.build import build
from app.core.settings import Settings
from tests.cases.engine_shapes import Body, OpenAIShape


class TalkingEngine(OpenAIShape):
    """Answers a question with the text that `answers` has for it, piece by piece.

    A text that begins with `THINK:` up to a line `---` is said as thoughts. `cut` are questions whose answer
    ends at its bound; `held` are those whose answer stops after its first piece until `go` is set.
    """

    def __init__(self, answers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.answers = dict(answers or {})
        self.cut: set[str] = set()
        self.held: set[str] = set()
        self.go = asyncio.Event()
        self.piece_chars = 24
        self.inflight = 0

    async def stream(self, request: web.Request, body: Body) -> web.StreamResponse:
        question = str(body["messages"][-1]["content"])
        text = self.answers.get(question, f"You asked: {question}")
        thoughts = ""
        if text.startswith("THINK:"):
            thoughts, text = text.removeprefix("THINK:").split("\n---\n", 1)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.inflight += 1
        try:
            for piece in self._pieces(thoughts):
                await self._chunk(response, {"reasoning_content": piece})
            for number, piece in enumerate(self._pieces(text)):
                if number == 1 and question in self.held:
                    await self.go.wait()
                await self._chunk(response, {"content": piece})
            await self._chunk(response, {}, "length" if question in self.cut else "stop")
            await response.write(b"data: [DONE]\n\n")
        finally:
            self.inflight -= 1
        return response

    def _pieces(self, text: str) -> list[str]:
        return [text[at : at + self.piece_chars] for at in range(0, len(text), self.piece_chars)]

    async def _chunk(self, response: web.StreamResponse, delta: Body, finish: str | None = None) -> None:
        chunk = {"choices": [{"delta": delta, "finish_reason": finish}]}
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


@asynccontextmanager
async def sentinel(
    database_url: str, redis_url: str, engine_url: str, listener: socket.socket, **values: object
) -> AsyncIterator[None]:
    """Sentinel as it is built, on a socket that outlives it: it can come back on its port."""
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        openai_url=engine_url,
        ollama_url=None,
        **values,  # type: ignore[arg-type]
    )
    config = uvicorn.Config(
        build(settings).app, log_level="critical", http="h11", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener.dup()]))
    try:
        while not server.started:
            assert not serving.done(), "Sentinel did not start"
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await serving
