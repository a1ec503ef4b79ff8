"""An engine for tests of the service: it says what a test scripts, at the pace of the test."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from tests.cases.engine_shapes import Body, OpenAIShape, running


class ScriptedEngine(OpenAIShape):
    """Says `pieces` with `pause_s` between them; `endless` says the last one for ever, whatever it was asked.

    `usage` is what it counts. While `go` is not set nothing is said.
    """

    def __init__(self, pieces: Sequence[str] = ("Hello", " there"), pause_s: float = 0.0) -> None:
        super().__init__()
        self.pieces = list(pieces)
        self.pause_s = pause_s
        self.endless = False
        self.usage: Body = {"prompt_tokens": 9, "completion_tokens": 2}
        self.go = asyncio.Event()
        self.go.set()
        self.inflight = 0

    async def stream(self, request: web.Request, body: Body) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.inflight += 1
        try:
            await self.go.wait()
            for piece in self.pieces:
                await self._piece(response, piece)
            while self.endless:
                await self._piece(response, self.pieces[-1])
        finally:
            self.inflight -= 1
        await self.say(response, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
        await self.say(response, {"choices": [], "usage": self.usage})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _piece(self, response: web.StreamResponse, piece: str) -> None:
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        await self.say(response, {"choices": [{"delta": {"content": piece}, "finish_reason": None}]})


@asynccontextmanager
async def serving(engine: ScriptedEngine) -> AsyncIterator[str]:
    """The engine on loopback; yields its address."""
    async with running(engine) as served:
        yield served.url
