"""Streams of both APIs as bytes: their heartbeat, their broken end, the first token, the last line.

The bytes go to the client as they come. Only what is needed is looked at, and only the lines that hold a
count or an end are parsed.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from fluido.gateway.wire.asked import Asked
from fluido.gateway.wire.refusal import Said, error_body
from fluido.gateway.wire.routes import Api, Route
from fluido.gateway.wire.spans import encoded
from fluido.llm.refusals import text_of
from fluido.llm.wire import mapping, number, text

NANO, MILLI = 1e-9, 1e-3
# The longest line that is kept until its end comes: an embedding or a tool call is long, a token is not.
MAX_LINE_BYTES = 4 << 20
# Longer than any name of a field with the first letter of its value.
_TAIL_BYTES = 64
_FIRST_OLLAMA = re.compile(
    rb'"(?:content|response|thinking)"\s*:\s*"[^"]|"tool_calls"\s*:\s*\[\s*\{|"done"\s*:\s*true'
)
_FIRST_OPENAI = re.compile(
    rb'"(?:content|text|reasoning|reasoning_content|arguments|refusal)"\s*:\s*"[^"]'
    rb'|"tool_calls"\s*:\s*\[\s*\{|"finish_reason"\s*:\s*"|\[DONE\]'
)
_OF_INTEREST_OLLAMA = re.compile(rb'"done"\s*:\s*true|"error"')
_OF_INTEREST_OPENAI = re.compile(
    rb'"usage"\s*:\s*\{|"timings"\s*:\s*\{|"finish_reason"\s*:\s*"|"error"|\[DONE\]|^error:', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How an answer ended, by the engine's own figures (seconds, tokens; 0 where it told none).

    `error` is the engine's text where it ended with one. `cached_tokens` is None where it does not tell.
    """

    finish_reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int | None = None
    output_tokens: int = 0
    load_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    total_s: float = 0.0
    slot: int | None = None
    error: str = ""


class StreamShape(ABC):
    """One stream on its way to a client.

    `is_first_token` and `end` get every piece, in order, cut anywhere. `is_complete`: the engine may close
    now without having broken off.
    """

    __slots__ = ("_rest", "_tail", "is_complete")
    content_type: bytes
    _first: re.Pattern[bytes]

    def __init__(self) -> None:
        self._rest = b""
        self._tail = b""
        self.is_complete = False

    @abstractmethod
    def heartbeat(self) -> bytes | None:
        """Bytes that keep the connection alive before the first token and mean nothing."""

    @abstractmethod
    def broken(self, message: str, code: str = "stream_broken") -> bytes:
        """The end of a stream that has no end: the API's clients raise an error from it."""

    @abstractmethod
    def _look(self, lines: bytes) -> Ended | None:
        """The end, if it is in these whole lines."""

    def is_first_token(self, data: bytes) -> bool:
        """Whether this piece brings the first piece of an answer (or its end), also of a thought."""
        held = self._tail + data if self._tail else data
        if self._first.search(held) is not None:
            self._tail = b""
            return True
        self._tail = held[-_TAIL_BYTES:]
        return False

    def end(self, data: bytes) -> Ended | None:
        """How the answer ended, once this piece says so."""
        cut = data.rfind(b"\n") + 1
        if not cut:
            if len(self._rest) + len(data) <= MAX_LINE_BYTES:
                self._rest += data
            return None
        lines = self._rest + data[:cut] if self._rest else data[:cut]
        self._rest = data[cut:]
        return self._look(lines)

    def closed(self) -> Ended | None:
        """The engine closed: what a last line without a line end still says."""
        rest, self._rest = self._rest, b""
        return self._look(rest + b"\n") if rest else None

    @property
    def is_between_lines(self) -> bool:
        """Whether everything that went out was whole lines."""
        return not self._rest


class Ndjson(StreamShape):
    """Ollama: one JSON object a line. A blank line would kill ollama-python."""

    __slots__ = ("_beat",)
    content_type = b"application/x-ndjson"
    _first = _FIRST_OLLAMA

    def __init__(self, asked: Asked, created_at: str) -> None:
        super().__init__()
        said: dict[str, Any] = {"message": {"role": "assistant", "content": ""}}
        if asked.route is Route.GENERATE:
            said = {"response": ""}
        self._beat = encoded({"model": asked.model, "created_at": created_at, **said, "done": False}) + b"\n"
        if asked.route not in {Route.CHAT, Route.GENERATE}:
            self._beat = b""

    def heartbeat(self) -> bytes | None:
        """An empty piece of the answer."""
        return self._beat or None

    def broken(self, message: str, code: str = "stream_broken") -> bytes:
        """A line with the error; a half line before it is closed, and is an error by itself."""
        line = error_body(Api.OLLAMA, Said(502, message, code)) + b"\n"
        return line if self.is_between_lines else b"\n" + line

    def _look(self, lines: bytes) -> Ended | None:
        if _OF_INTEREST_OLLAMA.search(lines) is None:
            return None
        for line in lines.splitlines():
            if _OF_INTEREST_OLLAMA.search(line) is not None:
                chunk = object_in(line)
                if chunk.get("error"):
                    return Ended(finish_reason="error", error=text_of(chunk))
                if chunk.get("done") is True:
                    self.is_complete = True
                    return ollama_end(chunk)
        return None


class Sse(StreamShape):
    """OpenAI: server-sent events."""

    __slots__ = ("_ended", "_finish", "_usage")
    content_type = b"text/event-stream"
    _first = _FIRST_OPENAI

    def __init__(self) -> None:
        super().__init__()
        self._finish = ""
        self._usage: dict[str, object] = {}
        self._ended = False

    def heartbeat(self) -> bytes | None:
        """A comment."""
        return b": waiting\n\n"

    def broken(self, message: str, code: str = "stream_broken") -> bytes:
        """An event with the error, and no [DONE] after it."""
        event = b"data: " + error_body(Api.OPENAI, Said(502, message, code)) + b"\n\n"
        return event if self.is_between_lines else b"\n\n" + event

    def _look(self, lines: bytes) -> Ended | None:
        if _OF_INTEREST_OPENAI.search(lines) is None:
            return None
        for line in lines.splitlines():
            if _OF_INTEREST_OPENAI.search(line) is None:
                continue
            name, _, data = line.partition(b":")
            data = data.strip()
            if name == b"error":
                return self._failed(text_of(object_in(data)) or data.decode("utf-8", "replace"))
            if data == b"[DONE]":
                return self._done()
            chunk = object_in(data)
            if chunk.get("error"):
                return self._failed(text_of(chunk))
            self._count(chunk)
        return None

    def _count(self, chunk: dict[str, object]) -> None:
        for name in ("usage", "timings"):
            if told := mapping(chunk.get(name)):
                self._usage[name] = told
        if "id_slot" in chunk:
            self._usage["id_slot"] = chunk["id_slot"]
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if reason := text(mapping(choice).get("finish_reason")):
                self._finish = reason
                self.is_complete = True

    def closed(self) -> Ended | None:
        """Servers that send no [DONE] have said how it ended in their last event."""
        ended = super().closed()
        return ended or (self._done() if self.is_complete and not self._ended else None)

    def _done(self) -> Ended:
        self._ended = self.is_complete = True
        return openai_end(self._usage, self._finish)

    def _failed(self, why: str) -> Ended:
        self._ended = True
        return Ended(finish_reason="error", error=why or "the engine sent an error without words")


def shape_of(asked: Asked, now_s: float) -> StreamShape:
    """The shape of the stream that a client gets; `now_s` is Unix time."""
    return Sse() if asked.api is Api.OPENAI else Ndjson(asked, rfc3339(now_s))


def rfc3339(now_s: float) -> str:
    """A time as Ollama writes it."""
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def object_in(line: bytes) -> dict[str, object]:
    """The object of a line; empty for anything else: the engine's mistake, and the client's to see."""
    try:
        return mapping(msgspec.json.decode(line))
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return {}


def ollama_end(chunk: dict[str, object]) -> Ended:
    """The figures of Ollama's last line, or of its whole answer."""
    return Ended(
        finish_reason=text(chunk.get("done_reason")) or "stop",
        prompt_tokens=int(number(chunk.get("prompt_eval_count"))),
        output_tokens=int(number(chunk.get("eval_count"))),
        load_s=number(chunk.get("load_duration")) * NANO,
        prefill_s=number(chunk.get("prompt_eval_duration")) * NANO,
        decode_s=number(chunk.get("eval_duration")) * NANO,
        total_s=number(chunk.get("total_duration")) * NANO,
    )


def openai_end(chunk: dict[str, object], finish_reason: str = "") -> Ended:
    """The figures of OpenAI's `usage`, and of llama.cpp's `timings` where they are."""
    usage, timings = mapping(chunk.get("usage")), mapping(chunk.get("timings"))
    cached = mapping(usage.get("prompt_tokens_details")).get("cached_tokens")
    prompt, output = int(number(usage.get("prompt_tokens"))), int(number(usage.get("completion_tokens")))
    if timings:
        cached = timings.get("cache_n", cached)
        prompt = prompt or int(number(timings.get("prompt_n")) + number(cached))
        output = output or int(number(timings.get("predicted_n")))
    slot = chunk.get("id_slot")
    return Ended(
        finish_reason=finish_reason or finish_of(chunk),
        prompt_tokens=prompt,
        cached_tokens=int(cached) if isinstance(cached, int) else None,
        output_tokens=output,
        prefill_s=number(timings.get("prompt_ms")) * MILLI,
        decode_s=number(timings.get("predicted_ms")) * MILLI,
        slot=slot if isinstance(slot, int) else None,
    )


def finish_of(chunk: dict[str, object]) -> str:
    """The finish reason of a whole answer."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if reason := text(mapping(choice).get("finish_reason")):
            return reason
    return "stop"


def end_of(api: Api, body: bytes) -> Ended:
    """The figures of a plain (not streamed) answer in the words of `api`."""
    chunk = object_in(body)
    if chunk.get("error"):
        return Ended(finish_reason="error", error=text_of(chunk))
    return ollama_end(chunk) if api is Api.OLLAMA else openai_end(chunk)
