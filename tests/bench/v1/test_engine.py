"""V1's reading of both dialects, against a scripted server on loopback."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from app.core.failures import EngineFailed
from bench.v1.engine import Dialect, End, Piece, StaticEngine

pytestmark = pytest.mark.anyio

ASKED = [{"role": "user", "content": "?"}]


class Script:
    """Answers every POST with the lines it was given and keeps what it was asked."""

    def __init__(self, lines: list[bytes], status: int = 200) -> None:
        self.lines, self.status = lines, status
        self.bodies: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        for line in self.lines:
            await response.write(line)
        return response


@asynccontextmanager
async def serving(script: Script, dialect: Dialect) -> AsyncIterator[StaticEngine]:
    app = web.Application()
    app.router.add_post("/{path:.*}", script.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    engine = StaticEngine(f"http://127.0.0.1:{runner.addresses[0][1]}", dialect, "m")
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close()
        await engine.close()
        await runner.cleanup()


def sse(*chunks: dict[str, Any]) -> list[bytes]:
    return [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


def ndjson(*chunks: dict[str, Any]) -> list[bytes]:
    return [json.dumps(chunk).encode() + b"\n" for chunk in chunks]


async def test_llamacpp_is_read_to_its_timings() -> None:
    timings = {"cache_n": 7, "prompt_n": 3, "prompt_ms": 5.0, "predicted_n": 2, "predicted_ms": 9.0}
    script = Script(
        sse(
            {"choices": [{"delta": {"role": "assistant", "content": None}}]},
            {"choices": [{"delta": {"content": "Hola"}}]},
            {"choices": [{"delta": {}, "finish_reason": "length"}]},
            {"choices": [], "usage": {"completion_tokens": 2}, "timings": timings},
        )
    )
    async with serving(script, "llamacpp") as engine:
        found = [item async for item in engine.stream(ASKED, 24)]
    assert found == [Piece("Hola"), End("length", 2, 10, 7, 5.0, 9.0)]
    assert script.bodies[0]["max_tokens"] == 24
    assert not {"num_ctx", "num_batch", "num_gpu", "options"} & set(script.bodies[0])


async def test_ollama_is_read_and_gets_no_runner_options() -> None:
    end = {"done": True, "done_reason": "stop", "eval_count": 4, "prompt_eval_duration": 2_000_000}
    script = Script(ndjson({"message": {"content": "Hola"}, "done": False}, end))
    async with serving(script, "ollama") as engine:
        found = [item async for item in engine.stream(ASKED, 24)]
    assert found == [Piece("Hola"), End("stop", 4, 0, 0, 2.0, 0.0)]
    assert script.bodies[0]["options"] == {"num_predict": 24}


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"busy"], 503),
        (ndjson({"error": "out of memory"}), 200),
        (ndjson({"message": {"content": "half an"}, "done": False}), 200),
    ],
    ids=["refused", "error in the stream", "no end"],
)
async def test_what_is_no_answer_is_an_error(lines: list[bytes], status: int) -> None:
    async with serving(Script(lines, status), "ollama") as engine:
        with pytest.raises(EngineFailed):
            _ = [item async for item in engine.stream(ASKED, 24)]


async def test_an_engine_that_is_not_there_is_an_error() -> None:
    engine = StaticEngine("http://127.0.0.1:1", "ollama", "m")
    with pytest.raises(EngineFailed, match="not open"):
        await engine.check()
    await engine.open()
    try:
        with pytest.raises(EngineFailed, match="cannot be reached"):
            await engine.check()
    finally:
        await engine.close()
