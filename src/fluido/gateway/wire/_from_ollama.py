"""Ollama's answers for OpenAI clients: NDJSON to server-sent events, and plain answers.

Text goes on as the JSON it came in: it is neither decoded nor encoded again.
"""

import base64
import struct
from abc import abstractmethod
from datetime import datetime
from typing import Any

import msgspec

from fluido.gateway.wire._asked import Asked
from fluido.gateway.wire._lines import Lines, whole_of
from fluido.gateway.wire._refusal import Said, error_body
from fluido.gateway.wire._routes import Api
from fluido.gateway.wire._spans import encoded, object_in

FINGERPRINT = "fp_ollama"
DONE = b"data: [DONE]\n\n"
_REASONS = {"length": "length"}
_NONE = msgspec.Raw(b"")
_EMPTY = b'""'


class _Function(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str = ""


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(_EMPTY)
    thinking: msgspec.Raw = msgspec.Raw(_EMPTY)
    tool_calls: list[_ToolCall] | None = None


class _Line(msgspec.Struct):
    message: _Message | None = None
    response: msgspec.Raw = msgspec.Raw(_EMPTY)
    thinking: msgspec.Raw = msgspec.Raw(_EMPTY)
    tool_calls: list[_ToolCall] | None = None
    done: bool = False
    done_reason: str | None = None
    created_at: str = ""
    logprobs: list[dict[str, Any]] | None = None
    prompt_eval_count: int = 0
    eval_count: int = 0
    error: msgspec.Raw = _NONE


_LINE = msgspec.json.Decoder(_Line)


class _Stream:
    """What chat and text completions have in common."""

    kind = ""
    plain_kind = ""
    prefix = ""
    media = b"text/event-stream"

    def __init__(self, asked: Asked, ident: str, now_s: float) -> None:
        self._lines = Lines()
        self._created = int(now_s)
        self._id = f"{self.prefix}-{ident}"
        self._ident = ident
        self._model = asked.model
        options = asked.fields.value("stream_options")
        self._counts = isinstance(options, dict) and options.get("include_usage") is True
        self._has_begun = self._is_over = False
        self._calls = 0
        self._one_call = asked.fields.value("parallel_tool_calls") is False
        self._head = b""

    def feed(self, data: bytes) -> bytes:
        """See `Translator`."""
        return b"".join(map(self._line, self._lines.feed(data)))

    def end(self) -> bytes:
        """See `Translator`. A stream without an end stays without one: its reader has to hear of that."""
        return b"".join(self._line(line) for line in self._lines.rest() if object_in(line))

    def _line(self, line: bytes) -> bytes:
        if self._is_over:
            return b""
        try:
            told = _LINE.decode(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return self._failed("the engine sent something that is not JSON")
        if len(memoryview(told.error)) > len(_EMPTY):
            return self._failed(_text_of(told.error))
        if not self._head:
            self._begin(told)
        made = self._pieces(told)
        if told.done:
            made += self._finish(told)
        return made

    def _failed(self, why: str) -> bytes:
        self._is_over = True
        return b"data: " + error_body(Api.OPENAI, Said(502, why, "engine_error")) + b"\n\n"

    def _begin(self, told: _Line) -> None:
        """All chunks of a stream share their id, time and model."""
        self._created = _unix(told.created_at, self._created)
        head = encoded(
            {
                "id": self._id,
                "object": self.kind,
                "created": self._created,
                "model": self._model,
                "system_fingerprint": FINGERPRINT,
            }
        )
        self._head = b"data: " + head[:-1] + b',"choices":['

    @abstractmethod
    def _pieces(self, told: _Line) -> bytes:
        """The chunks of one line."""

    @abstractmethod
    def _last(self, reason: str) -> bytes:
        """The choice that tells the reason, in JSON."""

    def _finish(self, told: _Line) -> bytes:
        self._is_over = True
        made = self._head + self._last(self._reason(told)) + b"]}\n\n"
        if self._counts:
            made += self._head + b'],"usage":' + encoded(_usage(told)) + b"}\n\n"
        return made + DONE

    def _reason(self, told: _Line) -> str:
        reason = told.done_reason or "stop"
        if reason == "stop" and self._calls:
            return "tool_calls"
        return reason if reason in {"stop", "length", "content_filter"} else "stop"

    def _tool_calls(self, calls: list[_ToolCall]) -> list[dict[str, Any]]:
        """Whole calls, counted here: an Ollama that sends each in a line of its own counts each from 0."""
        made = []
        for call in calls:
            if self._one_call and self._calls:
                break
            made.append(
                {
                    "index": self._calls,
                    "id": call.id or f"call_{self._ident}{self._calls}",
                    "type": "function",
                    "function": {
                        "name": call.function.name,
                        "arguments": str(bytes(call.function.arguments), "utf-8"),
                    },
                }
            )
            self._calls += 1
        return made

    def _plain(self, choice: dict[str, Any], told: _Line) -> bytes:
        return encoded(
            {
                "id": self._id,
                "object": self.plain_kind,
                "created": _unix(told.created_at, self._created),
                "model": self._model,
                "system_fingerprint": FINGERPRINT,
                "choices": [choice],
                "usage": _usage(told),
            }
        )


class Chat(_Stream):
    """/api/chat for a client of /v1/chat/completions."""

    kind, plain_kind, prefix = "chat.completion.chunk", "chat.completion", "chatcmpl"

    def _pieces(self, told: _Line) -> bytes:
        message = told.message or _Message()
        content, thinking = bytes(message.content), bytes(message.thinking)
        made = b""
        if len(thinking) > 2 and thinking != b"null":
            made = self._chunk(b'"reasoning":' + thinking)
        has_text = len(content) > 2 and content != b"null"
        calls = self._tool_calls(message.tool_calls) if message.tool_calls else None
        if has_text or calls or told.logprobs or not (self._has_begun or made):
            delta = b'"content":' + (content if has_text else _EMPTY)
            if calls:
                delta += b',"tool_calls":' + encoded(calls)
            made += self._chunk(delta, told.logprobs)
        return made

    def _chunk(self, delta: bytes, logprobs: list[dict[str, Any]] | None = None) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            delta = b'"role":"assistant",' + delta
        more = b',"logprobs":' + encoded(chat_logprobs(logprobs)) if logprobs else b""
        return b'%b{"index":0,"delta":{%b}%b,"finish_reason":null}]}\n\n' % (self._head, delta, more)

    def _last(self, reason: str) -> bytes:
        return b'{"index":0,"delta":{},"finish_reason":"%b"}' % reason.encode()

    def whole(self, body: bytes) -> bytes:
        """See `Translator`."""
        told = whole_of(_LINE, body)
        message = told.message or _Message()
        said: dict[str, Any] = {"role": "assistant", "content": message.content}
        if len(memoryview(message.thinking)) > 2:
            said["reasoning"] = message.thinking
        if message.tool_calls and (calls := self._tool_calls(message.tool_calls)):
            said["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in calls]
        choice: dict[str, Any] = {"index": 0, "message": said, "finish_reason": self._reason(told)}
        if told.logprobs:
            choice["logprobs"] = chat_logprobs(told.logprobs)
        return self._plain(choice, told)


class Completion(_Stream):
    """/api/generate for a client of /v1/completions."""

    kind, plain_kind, prefix = "text_completion", "text_completion", "cmpl"

    def _pieces(self, told: _Line) -> bytes:
        text = bytes(told.response)
        if len(text) <= 2 and not told.logprobs:
            return b""
        more = b',"logprobs":' + encoded(text_logprobs(told.logprobs)) if told.logprobs else b""
        return b'%b{"text":%b,"index":0%b,"finish_reason":null}]}\n\n' % (self._head, text, more)

    def _last(self, reason: str) -> bytes:
        return b'{"text":"","index":0,"finish_reason":"%b"}' % reason.encode()

    def whole(self, body: bytes) -> bytes:
        """See `Translator`."""
        told = whole_of(_LINE, body)
        logprobs = text_logprobs(told.logprobs) if told.logprobs else None
        return self._plain(
            {"text": told.response, "index": 0, "logprobs": logprobs, "finish_reason": self._reason(told)},
            told,
        )


class _Embedded(msgspec.Struct):
    embeddings: list[msgspec.Raw] = []
    prompt_eval_count: int = 0


_EMBEDDED = msgspec.json.Decoder(_Embedded)


class Embedding:
    """/api/embed for a client of /v1/embeddings; openai-python asks for base64 by itself."""

    media = b"application/json"

    def __init__(self, asked: Asked) -> None:
        self._model = asked.model
        form = asked.fields.value("encoding_format")
        self._packs = isinstance(form, str) and form.lower() == "base64"

    def feed(self, data: bytes) -> bytes:
        """See `Translator`. There is no stream of vectors."""
        return data

    def end(self) -> bytes:
        """See `Translator`."""
        return b""

    def whole(self, body: bytes) -> bytes:
        """See `Translator`."""
        told = whole_of(_EMBEDDED, body)
        data = [
            {"object": "embedding", "index": i, "embedding": packed(vector) if self._packs else vector}
            for i, vector in enumerate(told.embeddings)
        ]
        count = told.prompt_eval_count
        usage = {"prompt_tokens": count, "total_tokens": count}
        return encoded({"object": "list", "data": data, "model": self._model, "usage": usage})


def packed(vector: msgspec.Raw) -> str:
    """A vector as the base64 of its float32 numbers, little end first."""
    numbers = msgspec.json.decode(vector, type=list[float])
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode("ascii")


def chat_logprobs(logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Ollama's log probabilities in the shape of a chat's."""
    return {"content": [_token(each) | {"top_logprobs": _tops(each)} for each in logprobs], "refusal": None}


def text_logprobs(logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    """The same in the older shape of text completions."""
    return {
        "tokens": [each.get("token", "") for each in logprobs],
        "token_logprobs": [each.get("logprob", 0.0) for each in logprobs],
        "top_logprobs": [{top["token"]: top["logprob"] for top in _tops(each)} for each in logprobs],
        "text_offset": [],
    }


def _tops(each: dict[str, Any]) -> list[dict[str, Any]]:
    return [_token(top) for top in each.get("top_logprobs") or () if isinstance(top, dict)]


def _token(each: dict[str, Any]) -> dict[str, Any]:
    token = each.get("token", "")
    spelled = each.get("bytes")
    return {
        "token": token,
        "logprob": each.get("logprob", 0.0),
        "bytes": spelled if spelled is not None else list(str(token).encode()),
    }


def _usage(told: _Line) -> dict[str, int]:
    prompt, output = told.prompt_eval_count, told.eval_count
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def _unix(created_at: str, otherwise: int) -> int:
    """Seconds of an RFC 3339 time; its nanoseconds are more than Python reads."""
    try:
        moment = datetime.fromisoformat(created_at[:19] + "+00:00") if created_at else None
    except ValueError:
        return otherwise
    return int(moment.timestamp()) if moment is not None and moment.year > 1970 else otherwise


def _text_of(error: msgspec.Raw) -> str:
    said = msgspec.json.decode(error)
    return said if isinstance(said, str) else str(bytes(error), "utf-8", "replace")
