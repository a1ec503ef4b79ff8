"""Streams as bytes: first token, end, error and heartbeat, wherever the network cuts."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluido.gateway.wire import Api, Ended, StreamShape, parse, reader_of, shape_of
from fluido.gateway.wire._lines import MAX_HELD_BYTES, HeldEvents, HeldLines

DATA = Path(__file__).parent / "data"
STREAMS = {
    path.name: path.read_bytes() for path in sorted(DATA.glob("*.ndjson")) + sorted(DATA.glob("*.sse"))
}


def reader(name: str) -> StreamShape:
    return reader_of(Api.OLLAMA if name.endswith("ndjson") else Api.OPENAI)


def read(shape: StreamShape, pieces: list[bytes]) -> tuple[int, Ended | None]:
    """How many bytes had come when the first token was seen, and the end."""
    came, first, ended = 0, -1, None
    for piece in pieces:
        came += len(piece)
        if first < 0 and shape.is_first_token(piece):
            first = came
        ended = shape.end(piece) or ended
    return first, ended or shape.closed()


def cut(data: bytes, at: list[int]) -> list[bytes]:
    marks = [0, *sorted({mark % (len(data) + 1) for mark in at}), len(data)]
    return [data[one:other] for one, other in pairwise(marks)]


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_streams_end_with_their_figures(name: str) -> None:
    first, ended = read(reader(name), [STREAMS[name]])
    assert first > 0
    assert ended is not None
    assert ended.finish_reason == "length"
    if "v1" not in name:  # Ollama's /v1 tells no durations
        assert ended.prefill_s
        assert ended.decode_s
    assert ended.output_tokens
    assert ended.prompt_tokens


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_cut_gives_the_same_end(name: str, at: list[int]) -> None:
    data = STREAMS[name]
    pieces = cut(data, at)
    exact, _ = read(reader(name), [data[i : i + 1] for i in range(len(data))])
    first, ended = read(reader(name), pieces)
    assert ended == read(reader(name), [data])[1]
    edges = [sum(map(len, pieces[: i + 1])) for i in range(len(pieces))]
    assert first == min(edge for edge in edges if edge >= exact)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(STREAMS)), st.integers(1, 10_000))
def test_a_stream_that_just_stops_has_no_end(name: str, kept: int) -> None:
    """Hard case 28: half an answer must not pass for a whole one."""
    lines = STREAMS[name].splitlines(keepends=True)
    signs = (b'"done":true', b'"finish_reason":"length"')
    last = next(i for i, line in enumerate(lines) if any(sign in line for sign in signs))
    torn = b"".join(lines[: kept % last])
    assert read(reader(name), [torn])[1] is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{"done":true}}}]},"done":false}\n',
        b'{"message":{"content":"\\"done\\":true"},"done":false}\n',
        b'{"message":{"content":"{\\"error\\":\\"x\\"}"},"done":false}\n',
    ],
)
def test_what_a_model_says_is_not_the_end(line: bytes) -> None:
    shape = reader_of(Api.OLLAMA)
    assert shape.end(line) is None
    assert not shape.error


def test_errors_of_an_engine_are_heard() -> None:
    for api, stream in (
        (Api.OLLAMA, b'{"error":"boom","status":500}\n'),
        (Api.OPENAI, b'data: {"error":{"code":500,"message":"boom","type":"server_error"}}\n\n'),
        (Api.OPENAI, b'error: {"code":500,"message":"boom"}\n\n'),
        (Api.OPENAI, b'data: {"type":"response.failed","response":{"error":{"message":"boom"}}}\n\n'),
        (Api.OPENAI, b'event: error\ndata: {"type":"error","error":{"message":"boom"}}\n\n'),
    ):
        for size in (1, 5, 1000):
            shape = reader_of(api)
            pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
            assert read(shape, pieces)[1] is None
            assert shape.error == "boom"


def test_other_apis_of_openai_s_kind_end_in_their_own_way() -> None:
    responses = (
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Hi"}\n\n'
        b'event: response.completed\ndata: {"type":"response.completed","response":'
        b'{"usage":{"input_tokens":3,"output_tokens":2}}}\n\n'
    )
    messages = (
        b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3}}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"Hi"}}\n\n'
        b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":2}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    infill = (
        b'data: {"content":"Hi","stop":false}\n\n'
        b'data: {"content":"","stop":true,"stop_type":"eos","tokens_evaluated":3,"tokens_predicted":2}\n\n'
    )
    for stream in (responses, messages, infill):
        for size in (1, 9, 1000):
            pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
            first, ended = read(reader_of(Api.OPENAI), pieces)
            assert 0 < first < len(stream) or size == 1000
            assert ended is not None
            assert (ended.prompt_tokens, ended.output_tokens) == (3, 2)


def test_a_server_without_done_has_told_its_reason() -> None:
    shape = reader_of(Api.OPENAI)
    assert shape.end(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n') is None
    ended = shape.closed()
    assert ended is not None
    assert ended.finish_reason == "stop"


def test_heartbeats_are_no_tokens_and_never_blank_lines() -> None:
    for path in ("/api/chat", "/api/generate", "/v1/chat/completions", "/v1/completions"):
        asked = parse("POST", path, {}, b'{"model":"m","messages":[{"role":"user"}],"prompt":"x"}')
        shape = shape_of(asked, 1e9)
        beat = shape.heartbeat()
        assert beat
        assert beat.strip()
        assert not shape.is_first_token(beat)
        assert shape.end(beat) is None
        if path.startswith("/api"):
            made = json.loads(beat)
            assert (made["model"], made["done"], made["created_at"]) == (
                "m",
                False,
                "2001-09-09T01:46:40.000000Z",
            )
        else:
            assert beat.startswith(b":")
    assert shape_of(parse("POST", "/api/embed", {}, b'{"model":"m"}'), 0).heartbeat() is None


def test_a_broken_stream_is_told_also_in_the_middle_of_a_line() -> None:
    chat = parse("POST", "/api/chat", {}, b'{"model":"m"}')
    shape = shape_of(chat, 0)
    assert shape.broken("gone") == b'{"error":"gone"}\n'
    shape.end(b'{"model":"m","mess')
    assert shape.broken("gone") == b'\n{"error":"gone"}\n'
    sse = shape_of(parse("POST", "/v1/completions", {}, b'{"prompt":""}'), 0)
    sse.end(b"data: {")
    blank, _, event = sse.broken("gone").partition(b"data: ")
    assert blank == b"\n\n"
    assert json.loads(event)["error"]["message"] == "gone"
    messages = shape_of(parse("POST", "/v1/messages", {}, b"{}"), 0)
    assert messages.broken("gone").startswith(b'event: error\ndata: {"type":"error"')


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_no_half_of_a_line_or_event_goes_out(end: bytes) -> None:
    """A client fails at half a line with an error of its JSON parser, before it reads why."""
    lines, events = HeldLines(), HeldEvents()
    assert lines.feed(b'{"a":1}\n{"b"') == b'{"a":1}\n'
    assert lines.feed(b":2}") == b""
    assert lines.end() == b'{"b":2}'
    assert lines.feed(b'{"a":1}\n{"b":{}') == b'{"a":1}\n'
    assert lines.end() == b""
    assert events.feed(b'data: {"a":1}' + end + b'data: {"b"') == b'data: {"a":1}' + end
    assert events.feed(b":{}") == b""
    assert events.end() == b""
    assert events.feed(b"data: [DONE]") == b""
    assert events.end() == b"data: [DONE]"
    assert HeldLines().feed(b"x" * (MAX_HELD_BYTES + 1)) == b"x" * (MAX_HELD_BYTES + 1)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 10_000), max_size=12))
def test_whole_lines_are_the_same_bytes(name: str, at: list[int]) -> None:
    data = STREAMS[name]
    held = HeldLines() if name.endswith("ndjson") else HeldEvents()
    out = [held.feed(piece) for piece in cut(data, at)]
    assert b"".join(out) + held.end() == data
    assert all(piece.endswith(b"\n") for piece in out if piece)


def test_plain_answers_have_figures_too() -> None:
    for name, api in (("ollama_chat.json", Api.OLLAMA), ("llama_cpp_chat.json", Api.OPENAI)):
        ended = reader_of(api).whole((DATA / name).read_bytes())
        assert ended is not None
        assert (ended.output_tokens, ended.finish_reason) == (8, "length")
        assert reader_of(api).whole(b'{"error":"x"}') is None
