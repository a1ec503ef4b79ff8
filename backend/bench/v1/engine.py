"""V1's way to the engine: one HTTP request an answer, streamed, sent at once."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from app.core.failures import EngineFailed

Dialect = Literal["llamacpp", "ollama"]
READ_TIMEOUT_S = 60.0
IDLE_S = 2.0
"""llama.cpp closes a connection after 5 idle seconds; aiohttp keeps it for 15 and fails on the next use."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """What the engine told at the end. Times in milliseconds, by the engine's own clock."""

    finish_reason: str
    output_tokens: int
    prompt_tokens: int
    cached_tokens: int
    prefill_ms: float
    decode_ms: float


class StaticEngine:
    """llama.cpp's server or Ollama, with aiohttp's default pool. Inert until `open`."""

    def __init__(self, url: str, dialect: Dialect, model: str, *, in_flight: int = 0) -> None:
        """At most `in_flight` requests at once, the others wait in line; 0: no limit."""
        self._places = asyncio.Semaphore(in_flight) if in_flight else nullcontext()
        self.model = model
        self._url = url.rstrip("/")
        self._dialect: Dialect = dialect
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=READ_TIMEOUT_S)
            connector = aiohttp.TCPConnector(keepalive_timeout=IDLE_S)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def check(self) -> str:
        """Version line of a server that answers; raises `EngineFailed`."""
        path = "/health" if self._dialect == "llamacpp" else "/api/version"
        try:
            async with self._ready().get(self._url + path) as reply:
                if reply.status == 200:
                    return f"{self._dialect} answers"
                raise EngineFailed(f"The engine answers {reply.status} to {path}.")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise EngineFailed(f"The engine cannot be reached: {error}.") from error

    async def stream(
        self, messages: list[dict[str, str]], num_predict: int
    ) -> AsyncGenerator[Piece | End, None]:
        """Pieces as they come, then one `End`. `EngineFailed` when it breaks off or says no."""
        path, body = self._request(messages, num_predict)
        async with self._places, aclosing(self._exchange(path, body)) as items:
            async for item in items:
                yield item

    async def _exchange(self, path: str, body: dict[str, Any]) -> AsyncGenerator[Piece | End, None]:
        try:
            async with await self._post(path, body) as reply:
                if reply.status != 200:
                    text = (await reply.text())[:300]
                    raise EngineFailed(f"The engine answers {reply.status}: {text}")
                finish, ended = "stop", False
                async for line in reply.content:
                    chunk = _decoded(line)
                    finish = _finish(chunk) or finish
                    item = _ollama(chunk) if self._dialect == "ollama" else _llamacpp(chunk, finish)
                    if item is not None:
                        ended = ended or isinstance(item, End)
                        yield item
                if not ended:
                    raise EngineFailed("The engine closed the stream without an end.")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise EngineFailed(f"The engine broke off: {type(error).__name__}.") from error

    async def _post(self, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """Once more where the server had closed the idle connection that was taken: nothing was asked yet."""
        try:
            return await self._ready().post(self._url + path, json=body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._ready().post(self._url + path, json=body)

    def _ready(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise EngineFailed("The engine's session is not open.")
        return self._session

    def _request(self, messages: list[dict[str, str]], num_predict: int) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": True}
        if self._dialect == "ollama":
            return "/api/chat", {**body, "options": {"num_predict": num_predict}}
        usage = {"stream_options": {"include_usage": True}}
        return "/v1/chat/completions", {**body, **usage, "max_tokens": num_predict, "cache_prompt": True}


def _decoded(line: bytes) -> Mapping[str, Any]:
    """One line of the reply: NDJSON from Ollama, `data: ...` from llama.cpp; {} for an empty one."""
    text = line.strip().removeprefix(b"data:").strip()
    if not text or text == b"[DONE]":
        return {}
    chunk: dict[str, Any] = json.loads(text)
    if "error" in chunk:
        raise EngineFailed(f"The engine broke off: {chunk['error']}.")
    return chunk


def _finish(chunk: Mapping[str, Any]) -> str | None:
    """llama.cpp says why it stopped in the chunk before the one with the timings."""
    choices = chunk.get("choices")
    return choices[0].get("finish_reason") if choices else None


def _ollama(chunk: Mapping[str, Any]) -> Piece | End | None:
    if chunk.get("done"):
        return End(
            finish_reason=chunk.get("done_reason", "stop"),
            output_tokens=chunk.get("eval_count", 0),
            prompt_tokens=chunk.get("prompt_eval_count", 0),
            cached_tokens=chunk.get("prompt_eval_cached_count", 0),
            prefill_ms=chunk.get("prompt_eval_duration", 0) / 1e6,
            decode_ms=chunk.get("eval_duration", 0) / 1e6,
        )
    text = chunk.get("message", {}).get("content", "")
    return Piece(text) if text else None


def _llamacpp(chunk: Mapping[str, Any], finish: str) -> Piece | End | None:
    timings = chunk.get("timings")
    choices = chunk.get("choices") or [{}]
    if timings:
        cached = int(timings.get("cache_n", 0))
        return End(
            finish_reason=finish,
            output_tokens=int(timings.get("predicted_n", 0)),
            prompt_tokens=cached + int(timings.get("prompt_n", 0)),
            cached_tokens=cached,
            prefill_ms=float(timings.get("prompt_ms", 0.0)),
            decode_ms=float(timings.get("predicted_ms", 0.0)),
        )
    text = choices[0].get("delta", {}).get("content")
    return Piece(text) if text else None
