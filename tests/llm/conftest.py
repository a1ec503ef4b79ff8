"""An engine in this process, and a server on loopback, that do what a test tells them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from fluido.errors import EngineUnavailable, FluidoError
from fluido.llm import Call, Delta, EngineFacts, Timings
from fluido.llm._engine import Pulse, SlotState

PREFILL_PER_S = 300.0

Script = Callable[[Call], AsyncGenerator[Delta | Timings, None]]


def ended(**changes: object) -> Timings:
    values: dict[str, object] = {
        "queue_s": 0.0,
        "load_s": 0.0,
        "prefill_s": 0.01,
        "decode_s": 0.01,
        "ttft_s": 0.01,
        "total_s": 0.02,
        "prompt_tokens": 20,
        "cached_tokens": 0,
        "output_tokens": 2,
        "finish_reason": "stop",
    }
    return Timings(**{**values, **changes})  # type: ignore[arg-type]


class ScriptedEngine:
    """Counts what is in flight, holds calls until `go` is set, and fails as told.

    It keeps what each slot holds, as a real engine does: `cached_tokens` counts the leading messages that the
    slot (or, without a pin, any slot) held before.
    """

    def __init__(
        self, name: str = "scripted", *, slots: int | None = 1, context_tokens: int = 4096, **facts: object
    ) -> None:
        self.name = name
        facts = {"pins_slots": slots is not None, **facts}
        self.known = EngineFacts(name, "scripted", "m", slots, context_tokens, "1", **facts)
        self.go = asyncio.Event()
        self.go.set()
        self.inflight = self.peak = self.started = self.closed = 0
        self.calls: list[Call] = []
        self.slots: list[int | None] = []
        self.dead: FluidoError | None = None
        self.script: Script | None = None
        self.held: dict[int, tuple] = {}
        self.loads: list[str] = []
        self.has_models: set[str] | None = None
        self.shows: Pulse | None = None
        self.tasks: dict[int, int] = {}
        self.busy: set[int] = set()
        self.lengths: dict[int, int] = {}
        self.mute = False
        self.pulses = 0
        self.loading = asyncio.Event()
        self.loading.set()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self.closed += 1

    async def facts(self, model: str = "") -> EngineFacts:
        if self.dead is not None:
            raise self.dead
        return self.known

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        self.loads.append(model if window_tokens is None else (model, window_tokens))
        await self.loading.wait()
        if self.dead is not None:
            raise self.dead
        if window_tokens is not None:
            self.known = replace(self.known, context_tokens=window_tokens, runner={"num_ctx": window_tokens})

    async def has(self, model: str) -> bool | None:
        if self.dead is not None:
            raise self.dead
        return None if self.has_models is None else model in self.has_models

    async def pulse(self, model: str = "") -> Pulse:
        self.pulses += 1
        if self.dead is not None or self.mute:
            raise self.dead or EngineUnavailable("nobody there")
        return self.shows or Pulse(resident=True, slots=self._slots_now())

    def _slots_now(self) -> tuple[SlotState, ...] | None:
        if not self.known.pins_slots:
            return None
        return tuple(
            SlotState(slot, slot in self.busy, self.tasks.get(slot, -1), self.lengths.get(slot))
            if slot in self.tasks
            else SlotState(slot, slot in self.busy)
            for slot in range(self.known.slots or 0)
        )

    def _chosen(self, call: Call, slot: int | None) -> int:
        """A named slot; else, as llama.cpp does, the free one that looks most like the call."""
        if slot is not None or not self.known.pins_slots:
            return slot or 0
        free = [index for index in range(self.known.slots or 1) if index not in self.busy] or [0]
        return max(free, key=lambda index: (_common(call, self.held.get(index, ())), -index))

    async def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Delta | Timings, None]:
        if self.dead is not None:
            raise self.dead
        self.calls.append(call)
        self.slots.append(slot)
        self.started += 1
        chosen = self._chosen(call, slot)
        self.tasks[chosen] = self.started
        self.busy.add(chosen)
        self.inflight += 1
        self.peak = max(self.peak, self.inflight)
        try:
            if self.script is not None:
                async for item in self.script(call):
                    yield item
                return
            await self.go.wait()
            cached, prompt = self._reuse(call, chosen)
            self.lengths[chosen] = prompt + 1
            yield Delta("a")
            yield Delta("b")
            prefill_s = (prompt - cached) / PREFILL_PER_S
            yield ended(cached_tokens=cached, prompt_tokens=prompt, prefill_s=prefill_s, slot=slot)
        finally:
            self.inflight -= 1
            self.busy.discard(chosen)

    def _reuse(self, call: Call, chosen: int) -> tuple[int, int]:
        shared = _common(call, self.held.get(chosen, ()))
        self.held[chosen] = (*call.messages, ("assistant", "ab"))
        size = [5 + len(m.content) // 4 for m in call.messages]
        return sum(size[:shared]), sum(size)


def _common(call: Call, held: tuple) -> int:
    shared = 0
    for mine, theirs in zip(call.messages, held, strict=False):
        if mine != theirs:
            break
        shared += 1
    return shared


@pytest.fixture
def engine() -> type[ScriptedEngine]:
    return ScriptedEngine


@pytest.fixture
def timings() -> Callable[..., Timings]:
    return ended


@pytest.fixture
def unavailable() -> EngineUnavailable:
    return EngineUnavailable("nobody there", retry_after_s=0.1)


class ScriptedServer:
    """Routes of the test's own on a free port of 127.0.0.1; `requests` keeps every JSON body that came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, object]] = []
        self.routes: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self.gone = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.path, body))
        try:
            return await self.routes[request.path](request)
        except asyncio.CancelledError:
            self.gone.set()
            raise

    def json(self, path: str, value: object, status: int = 200) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.json_response(value, status=status)

        self.routes[path] = answer

    def pieces(self, path: str, *pieces: bytes, hold: bool = False) -> None:
        """Answer with these bytes, one write each; then end, or hold the stream open."""

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for piece in pieces:
                await response.write(piece)
                await asyncio.sleep(0)
            if hold:
                await asyncio.Event().wait()
            return response

        self.routes[path] = answer


@asynccontextmanager
async def serving() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    app = web.Application(handler_args={"handler_cancellation": True})
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with serving() as running:
        yield running
