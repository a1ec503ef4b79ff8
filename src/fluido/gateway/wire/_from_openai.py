"""OpenAI engines' answers for Ollama clients: server-sent events to NDJSON, and plain answers.

Text goes on as the JSON it came in. Tool calls come in pieces here and whole there: they are gathered.
"""

from typing import Any

import msgspec

from fluido.gateway.wire._asked import Asked
from fluido.gateway.wire._lines import Lines, is_whole_event, whole_of
from fluido.gateway.wire._refusal import Said, error_body
from fluido.gateway.wire._routes import Api, Route
from fluido.gateway.wire._shape import Ended, openai_end, rfc3339
from fluido.gateway.wire._spans import encoded, object_in
from fluido.llm.engines import is_error, text_of

NANO = 1_000_000_000
_EMPTY = msgspec.Raw(b'""')
_NONE = msgspec.Raw(b"")
_NULL = b"null"
_REASONS = {"length": "length", "limit": "length"}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: msgspec.Raw = _EMPTY
    reasoning_content: msgspec.Raw = _EMPTY
    reasoning: msgspec.Raw = _EMPTY
    tool_calls: list[_ToolCall] | None = None


class _Logprobs(msgspec.Struct):
    content: list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    text: msgspec.Raw = _EMPTY
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    error: msgspec.Raw = _NONE


class _Infill(msgspec.Struct):
    """llama.cpp's own stream, of /infill."""

    content: msgspec.Raw = _EMPTY
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    timings: dict[str, Any] | None = None
    error: msgspec.Raw = _NONE


_CHUNK = msgspec.json.Decoder(_Chunk)
_INFILL = msgspec.json.Decoder(_Infill)


class Answer:
    """/v1/chat/completions, /v1/completions or /infill for a client of /api/chat or /api/generate."""

    media = b"application/x-ndjson"

    def __init__(self, asked: Asked, path: str, now_s: float) -> None:
        self._lines = Lines()
        self._is_chat = asked.route is Route.CHAT
        self._is_infill = path == "/infill"
        head = encoded({"model": asked.model, "created_at": rfc3339(now_s)})[:-1]
        self._head = head + b","
        self._calls: dict[int, dict[str, Any]] = {}
        self._told: dict[str, object] = {}
        self._finish = ""
        self._is_over = False

    def feed(self, data: bytes) -> bytes:
        """See `Translator`."""
        return b"".join(map(self._line, self._lines.feed(data)))

    def end(self) -> bytes:
        """See `Translator`. Servers that send no [DONE] have told their reason."""
        made = b"".join(self._line(line) for line in self._lines.rest() if is_whole_event(line))
        return made + (self._done() if self._finish and not self._is_over else b"")

    def whole(self, body: bytes) -> bytes:
        """See `Translator`: one object with the text, the calls and the figures."""
        chunk = self._read(body.strip())
        if isinstance(chunk, bytes):
            return chunk
        choice = chunk.choices[0] if chunk.choices else _Choice()
        said = choice.message or choice.delta or _Delta(content=choice.text)
        self._gather(said)
        made: dict[str, Any] = {}
        if self._is_chat:
            made["message"] = self._message(said)
        else:
            made["response"] = said.content if _is_text(said.content) else ""
            if (thoughts := _thoughts(said)) is not None:
                made["thinking"] = thoughts
        if choice.logprobs is not None and choice.logprobs.content:
            made["logprobs"] = choice.logprobs.content
        return self._head + encoded(made | self._figures())[1:]

    def _message(self, said: _Delta) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": said.content if _is_text(said.content) else "",
        }
        if (thoughts := _thoughts(said)) is not None:
            message["thinking"] = thoughts
        if self._calls:
            message["tool_calls"] = self._whole_calls()
        return message

    def _read(self, data: bytes) -> "_Chunk | bytes":
        """A chunk of either kind of stream, with what it counts; bytes: the error line for the client."""
        try:
            chunk = _of_infill(_INFILL.decode(data)) if self._is_infill else _CHUNK.decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            told = object_in(data)
            return self._failed(text_of(told) or "the engine sent something that is not JSON")
        if bytes(memoryview(chunk.error)[:4]) not in {b"", _NULL}:
            return self._failed(text_of(object_in(data)))
        if not chunk.choices and chunk.usage is None and is_error(object_in(data)):
            return self._failed(text_of(object_in(data)))
        if chunk.usage:
            self._told["usage"] = chunk.usage
        if chunk.timings:
            self._told["timings"] = chunk.timings
        for choice in chunk.choices:
            self._finish = choice.finish_reason or self._finish
        return chunk

    def _line(self, line: bytes) -> bytes:
        if self._is_over:
            return b""
        name, colon, data = line.partition(b":")
        if name == b"error" and colon:
            return self._failed(text_of(object_in(data)) or data.decode("utf-8", "replace").strip())
        if name != b"data":
            return b""
        data = data.strip()
        if data == b"[DONE]":
            return self._done()
        chunk = self._read(data)
        if isinstance(chunk, bytes):
            return chunk
        made = b"".join(map(self._piece, chunk.choices))
        return made + (self._done() if self._is_infill and self._finish else b"")

    def _piece(self, choice: _Choice) -> bytes:
        said = choice.delta or _Delta(content=choice.text)
        thoughts = _thoughts(said)
        if said.tool_calls:
            self._gather(said)
        if not _is_text(said.content) and thoughts is None:
            return b""
        content = bytes(said.content) if _is_text(said.content) else b'""'
        more = b""
        if thoughts is not None:
            more = b',"thinking":' + bytes(thoughts)
        if self._is_chat:
            said_ = b'"message":{"role":"assistant","content":%b%b}' % (content, more)
        else:
            said_ = b'"response":%b%b' % (content, more)
        if choice.logprobs is not None and choice.logprobs.content:
            said_ += b',"logprobs":' + encoded(choice.logprobs.content)
        return b'%b%b,"done":false}\n' % (self._head, said_)

    def _gather(self, said: _Delta) -> None:
        for call in said.tool_calls or ():
            index = call.index
            if index is None:  # of whole calls, and of servers that leave it out
                begins = call.id is not None or not self._calls
                index = len(self._calls) if begins else len(self._calls) - 1
            held = self._calls.setdefault(index, {"id": "", "name": "", "arguments": []})
            held["id"] = call.id or held["id"]
            if call.function is not None:
                held["name"] = call.function.name or held["name"]
                held["arguments"].append(call.function.arguments or "")

    def _whole_calls(self) -> list[dict[str, Any]]:
        made = []
        for index, held in sorted(self._calls.items()):
            text = "".join(held["arguments"]) or "{}"
            try:
                arguments: object = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            except (msgspec.MsgspecError, RecursionError):
                arguments = {
                    "arguments": text
                }  # the model wrote no object: nothing is lost, nothing invented
            function = {"index": index, "name": held["name"], "arguments": arguments}
            made.append({"id": held["id"], "function": function} if held["id"] else {"function": function})
        return made

    def _done(self) -> bytes:
        self._is_over = True
        made = b""
        if self._calls:
            calls = b'"message":{"role":"assistant","content":"","tool_calls":%b}' % encoded(
                self._whole_calls()
            )
            made = b'%b%b,"done":false}\n' % (self._head, calls)
        last: dict[str, Any] = {"message": {"role": "assistant", "content": ""}}
        if not self._is_chat:
            last = {"response": ""}
        return made + self._head + encoded(last | self._figures())[1:] + b"\n"

    def _figures(self) -> dict[str, Any]:
        ended: Ended = openai_end(self._told, self._finish)
        spent = (ended.prefill_s or 0.0) + (ended.decode_s or 0.0)
        figures = {
            "total_duration": int(spent * NANO),
            "prompt_eval_count": ended.prompt_tokens,
            "prompt_eval_duration": int((ended.prefill_s or 0.0) * NANO),
            "eval_count": ended.output_tokens,
            "eval_duration": int((ended.decode_s or 0.0) * NANO),
        }
        reason = _REASONS.get(self._finish, "stop")
        return {"done": True, "done_reason": reason, **{name: n for name, n in figures.items() if n}}

    def _failed(self, why: str) -> bytes:
        self._is_over = True
        return error_body(Api.OLLAMA, Said(502, why or "the engine failed without words")) + b"\n"


class _Vector(msgspec.Struct):
    embedding: msgspec.Raw
    index: int = 0


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: dict[str, Any] | None = None


_VECTORS = msgspec.json.Decoder(_Vectors)


class Vectors:
    """/v1/embeddings for a client of /api/embed or /api/embeddings."""

    media = b"application/json"

    def __init__(self, asked: Asked) -> None:
        self._model = asked.model
        self._is_one = asked.path == "/api/embeddings"

    def feed(self, data: bytes) -> bytes:
        """See `Translator`. There is no stream of vectors."""
        return data

    def end(self) -> bytes:
        """See `Translator`."""
        return b""

    def whole(self, body: bytes) -> bytes:
        """See `Translator`."""
        told = whole_of(_VECTORS, body)
        vectors = [each.embedding for each in sorted(told.data, key=lambda each: each.index)]
        if self._is_one:
            return encoded({"embedding": vectors[0] if vectors else []})
        count = (told.usage or {}).get("prompt_tokens", 0)
        made = {"model": self._model, "embeddings": vectors}
        return encoded(made | ({"prompt_eval_count": count} if count else {}))


def _of_infill(told: _Infill) -> _Chunk:
    usage = None
    if told.stop:
        usage = {"prompt_tokens": told.tokens_evaluated, "completion_tokens": told.tokens_predicted}
    reason = (told.stop_type or "stop") if told.stop else None
    choice = _Choice(text=told.content, finish_reason=reason)
    return _Chunk([choice], usage, told.timings, told.error)


def _is_text(raw: msgspec.Raw) -> bool:
    return len(memoryview(raw)) > 2 and bytes(memoryview(raw)[:4]) != _NULL


def _thoughts(said: _Delta) -> msgspec.Raw | None:
    for raw in (said.reasoning_content, said.reasoning):
        if _is_text(raw):
            return raw
    return None
