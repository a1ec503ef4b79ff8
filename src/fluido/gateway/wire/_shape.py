"""Streams of both APIs as bytes: their heartbeat, their broken end, the first token, the last line.

The bytes go to the client as they come. Only what is needed is looked at, and only the lines that hold a
count or an end are parsed.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fluido.gateway.wire._asked import Asked
from fluido.gateway.wire._refusal import Said, error_body
from fluido.gateway.wire._routes import Api, Route
from fluido.gateway.wire._spans import encoded, object_in
from fluido.llm.engines import mapping, number, text, text_of

NANO, MILLI = 1e-9, 1e-3
# The longest line that is kept until its end comes: an embedding or a tool call is long, a token is not.
MAX_LINE_BYTES = 4 << 20
# Longer than any name of a field with the first letter of its value.
_TAIL_BYTES = 64
_FIRST_OLLAMA = re.compile(
    rb'"(?:content|response|thinking)"\s*:\s*"[^"]|"tool_calls"\s*:\s*\[\s*\{|"done"\s*:\s*true'
)
_FIRST_OPENAI = re.compile(
    rb'"(?:content|text|reasoning|reasoning_content|arguments|refusal|delta|thinking)"\s*:\s*"[^"]'
    rb'|"tool_calls"\s*:\s*\[\s*\{|"finish_reason"\s*:\s*"|\[DONE\]'
)
# Beside an end or a count; most events have the name with nothing in it.
_REASON = re.compile(rb'"finish_reason"\s*:\s*"')
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
# The last events of /v1/responses and /v1/messages, which send no [DONE].
_LAST = frozenset({"response.completed", "response.incomplete", "message_stop"})


@dataclass(frozen=True, slots=True)
class Ended:
    """How an answer ended, by the engine's own figures (tokens, seconds); None where it tells none."""

    finish_reason: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    load_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    total_s: float | None = None
    slot: int | None = None


class StreamShape(ABC):
    """One stream on its way to a client.

    `is_first_token` and `end` get every piece, in order, cut anywhere. `error` is what the engine said in the
    stream in place of an end.
    """

    __slots__ = ("_rest", "_tail", "error")
    content_type: bytes
    _first: re.Pattern[bytes]

    def __init__(self) -> None:
        self._rest = b""
        self._tail = b""
        self.error = ""

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
        """The engine closed: the end, if a last line without a line end still says it."""
        rest, self._rest = self._rest, b""
        return self._look(rest + b"\n") if rest else None

    @abstractmethod
    def whole(self, body: bytes) -> Ended | None:
        """How a plain (not streamed) answer ended; None where it is an error."""

    @property
    def is_between_lines(self) -> bool:
        """Whether everything that went out was whole lines."""
        return not self._rest


class Ndjson(StreamShape):
    """Ollama: one JSON object a line. A blank line would kill ollama-python."""

    __slots__ = ("_beat",)
    content_type = b"application/x-ndjson"
    _first = _FIRST_OLLAMA

    def __init__(self, beat: bytes | None = None) -> None:
        super().__init__()
        self._beat = beat

    def heartbeat(self) -> bytes | None:
        """An empty piece of the answer."""
        return self._beat

    def whole(self, body: bytes) -> Ended | None:
        """See `StreamShape`."""
        chunk = object_in(body)
        return None if chunk.get("error") else ollama_end(chunk)

    def broken(self, message: str, code: str = "stream_broken") -> bytes:
        """A line with the error; a half line before it is closed, and is an error by itself."""
        line = error_body(Api.OLLAMA, Said(502, message, code)) + b"\n"
        return line if self.is_between_lines else b"\n" + line

    def _look(self, lines: bytes) -> Ended | None:
        if not _may_end(lines):
            return None
        for line in lines.splitlines():
            if _may_end(line):
                chunk = object_in(line)
                if chunk.get("error"):
                    self.error = text_of(chunk)
                    return None
                if chunk.get("done") is True:
                    return ollama_end(chunk)
        return None


class Sse(StreamShape):
    """OpenAI: server-sent events."""

    __slots__ = ("_finish", "_is_over", "_messages", "_told")
    content_type = b"text/event-stream"
    _first = _FIRST_OPENAI

    def __init__(self, *, messages: bool = False) -> None:
        super().__init__()
        self._messages = messages  # Anthropic's, whose clients know an error by the event's name
        self._finish = ""
        self._told: dict[str, object] = {}
        self._is_over = False

    def heartbeat(self) -> bytes | None:
        """A comment."""
        return b": waiting\n\n"

    def broken(self, message: str, code: str = "stream_broken") -> bytes:
        """An event with the error, and no [DONE] after it."""
        event = b"data: " + error_body(Api.OPENAI, Said(502, message, code)) + b"\n\n"
        if self._messages:
            error = {"type": "error", "error": {"type": "api_error", "message": message}}
            event = b"event: error\ndata: " + encoded(error) + b"\n\n"
        return event if self.is_between_lines else b"\n\n" + event

    def whole(self, body: bytes) -> Ended | None:
        """See `StreamShape`."""
        chunk = object_in(body)
        return None if chunk.get("error") else openai_end(chunk)

    def _look(self, lines: bytes) -> Ended | None:
        if not _may_count(lines):
            return None
        for line in lines.splitlines():
            if not _may_count(line):
                continue
            name, _, data = line.partition(b":")
            data = data.strip()
            if name == b"error":
                self.error = text_of(object_in(data)) or data.decode("utf-8", "replace")
                return None
            if data == b"[DONE]":
                return self._done()
            chunk = object_in(data)
            failed = chunk.get("error") or mapping(chunk.get("response")).get("error")
            if failed:
                self.error = text_of({"error": failed}) or "the engine sent an error without words"
                return None
            self._count(chunk)
            if chunk.get("type") in _LAST:
                return self._done()
        return None

    def _count(self, chunk: dict[str, object]) -> None:
        for holder in (chunk, mapping(chunk.get("response")), mapping(chunk.get("message"))):
            for name in ("usage", "timings"):
                if told := mapping(holder.get(name)):
                    self._told[name] = {**mapping(self._told.get(name)), **told}
        if "id_slot" in chunk:
            self._told["id_slot"] = chunk["id_slot"]
        self._finish = finish_of(chunk) or self._finish
        if chunk.get("stop") is True:  # llama.cpp's own streams
            prompt, output = chunk.get("tokens_evaluated"), chunk.get("tokens_predicted")
            self._told.setdefault("usage", {"prompt_tokens": prompt, "completion_tokens": output})
            self._finish = "length" if chunk.get("stop_type") == "limit" else "stop"

    def closed(self) -> Ended | None:
        """See `StreamShape`. Servers that send no [DONE] have told their reason before."""
        return super().closed() or (self._done() if self._finish and not self._is_over else None)

    def _done(self) -> Ended:
        self._is_over = True
        return openai_end(self._told, self._finish)


def _may_end(lines: bytes) -> bool:
    """Whether an Ollama's lines may hold an end: the words it would have, wherever they stand."""
    return b'"done":true' in lines or b'"done": true' in lines or b'"error"' in lines


def _may_count(lines: bytes) -> bool:
    """The same of events, and of their counts. Of all that is done for a token this is the most."""
    reasons = lines.count(b'"finish_reason"')
    return (
        # counted twice is faster than searched once, and nearly all have none
        (reasons > lines.count(b'"finish_reason":null') and _REASON.search(lines) is not None)
        or (b'"usage"' in lines and _USAGE.search(lines) is not None)
        or b"[DONE]" in lines
        or b"error" in lines
        or b'"timings"' in lines
        or b'stop":' in lines
        or b'_stop"' in lines
        or b'"response.' in lines
    )


def shape_of(asked: Asked, now_s: float) -> StreamShape:
    """The stream that a client gets; `now_s` is Unix time."""
    if asked.api is Api.OPENAI:
        return Sse(messages=asked.path.startswith("/v1/messages"))
    if asked.route not in {Route.CHAT, Route.GENERATE}:
        return Ndjson()
    said: dict[str, Any] = {"response": ""}
    if asked.route is Route.CHAT:
        said = {"message": {"role": "assistant", "content": ""}}
    beat = {"model": asked.model, "created_at": rfc3339(now_s), **said, "done": False}
    return Ndjson(encoded(beat) + b"\n")


def reader_of(api: Api) -> StreamShape:
    """The stream that an engine of `api` sends, to be looked at."""
    return Sse() if api is Api.OPENAI else Ndjson()


def rfc3339(now_s: float) -> str:
    """A time as Ollama writes it."""
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def ollama_end(chunk: Mapping[str, object]) -> Ended:
    """The figures of Ollama's last line, or of its whole answer; it leaves out what is 0."""
    return Ended(
        finish_reason=text(chunk.get("done_reason")) or "stop",
        prompt_tokens=_count(chunk, "prompt_eval_count"),
        output_tokens=_count(chunk, "eval_count"),
        load_s=_seconds(chunk, "load_duration", NANO),
        prefill_s=_seconds(chunk, "prompt_eval_duration", NANO),
        decode_s=_seconds(chunk, "eval_duration", NANO),
        total_s=_seconds(chunk, "total_duration", NANO),
    )


def openai_end(chunk: Mapping[str, object], finish_reason: str = "") -> Ended:
    """The figures of `usage` (in OpenAI's or Anthropic's names), and of llama.cpp's `timings`."""
    usage, timings = mapping(chunk.get("usage")), mapping(chunk.get("timings"))
    cached = _count(mapping(usage.get("prompt_tokens_details")), "cached_tokens")
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    output = _count(usage, "completion_tokens", "output_tokens")
    if timings:
        cached = _count(timings, "cache_n") if "cache_n" in timings else cached
        prompt = prompt or int(number(timings.get("prompt_n"))) + (cached or 0)
        output = output or _count(timings, "predicted_n")
    return Ended(
        finish_reason=finish_reason or finish_of(chunk) or "stop",
        prompt_tokens=prompt,
        cached_tokens=cached,
        output_tokens=output,
        prefill_s=_seconds(timings, "prompt_ms", MILLI),
        decode_s=_seconds(timings, "predicted_ms", MILLI),
        slot=_count(chunk, "id_slot"),
    )


def finish_of(chunk: Mapping[str, object]) -> str:
    """The finish reason of a chunk or of a whole answer; empty where it says none."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if reason := text(mapping(choice).get("finish_reason")):
            return reason
    return ""


def _count(holder: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = holder.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _seconds(holder: Mapping[str, object], name: str, unit: float) -> float | None:
    value = holder.get(name)
    return number(value) * unit if value is not None else None
