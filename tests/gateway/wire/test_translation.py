"""Answers between the APIs: any cut gives the same, no word is lost, a round trip comes home."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluido.gateway.wire import Api, Profile, Translator, parse, to_upstream
from fluido.llm._errors import StreamBroken

DATA = Path(__file__).parent / "data"
HELLO = [{"role": "user", "content": "Hello"}]
NOW_S = 1_795_968_000.0


def translator(path: str, engine: Api, kind: str = "", **body: Any) -> Translator:
    """Of a stream for a client who asked `path` of an engine of the other API."""
    request = {"model": "m", "messages": HELLO, "prompt": "x", "input": "x", "stream": True, **body}
    if "completions" in path and "chat" not in path:
        del request["messages"], request["input"]
    elif "embed" in path:
        request = {"model": "m", "input": "x", "prompt": "x", **body}
        del request["prompt" if path != "/api/embeddings" else "input"]
    else:
        del request["input"]
        del request["prompt" if "chat" in path else "messages"]
    asked = parse("POST", path, {}, json.dumps(request).encode())
    made = to_upstream(asked, engine, Profile(kind=kind), now_s=NOW_S, ident="7").translator
    assert made is not None
    return made


def translated(made: Translator, data: bytes, size: int = 1 << 20) -> bytes:
    out = [made.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join(out) + made.end()


def events(stream: bytes) -> list[Any]:
    """The data of server-sent events, as the clients' parsers take it."""
    made = []
    for event in stream.split(b"\n\n")[:-1]:
        assert event.startswith(b"data: ")
        assert b"\n" not in event
        data = event.removeprefix(b"data: ")
        made.append("[DONE]" if data == b"[DONE]" else json.loads(data))
    assert stream.endswith(b"\n\n") or not stream
    return made


def lines(stream: bytes) -> list[Any]:
    """The objects of NDJSON; a blank line would kill ollama-python."""
    assert b"\n\n" not in stream
    return [json.loads(line) for line in stream.splitlines()]


CASES = [
    ("ollama_chat.ndjson", "/v1/chat/completions", Api.OLLAMA, ""),
    ("ollama_chat_logprobs.ndjson", "/v1/chat/completions", Api.OLLAMA, ""),
    ("ollama_generate.ndjson", "/v1/completions", Api.OLLAMA, ""),
    ("llama_cpp_chat.sse", "/api/chat", Api.OPENAI, "llama.cpp"),
    ("llama_cpp_chat_logprobs.sse", "/api/chat", Api.OPENAI, "llama.cpp"),
    ("llama_cpp_completions.sse", "/api/generate", Api.OPENAI, "llama.cpp"),
]


def words(stream: bytes) -> str:
    """The text of an answer in either API."""
    text = ""
    for raw in stream.splitlines():
        data = raw.removeprefix(b"data:").strip()
        if not data or data == b"[DONE]":
            continue
        said = json.loads(data)
        for choice in said.get("choices", ()):
            text += choice.get("delta", {}).get("content") or choice.get("text") or ""
        text += said.get("response", "") + said.get("message", {}).get("content", "")
    return text


@pytest.mark.parametrize(("name", "path", "engine", "kind"), CASES, ids=[case[0] for case in CASES])
def test_no_word_of_a_recorded_answer_is_lost(name: str, path: str, engine: Api, kind: str) -> None:
    data = (DATA / name).read_bytes()
    whole = translated(translator(path, engine, kind), data)
    assert words(whole) == words(data)
    assert words(data)
    for size in (1, 2, 3, 17, 100):
        assert translated(translator(path, engine, kind), data, size) == whole


def test_the_shape_of_a_chat_is_ollama_s_own() -> None:
    """Beside what the same Ollama says at /v1: members of every chunk, role, finish, usage, [DONE]."""
    stream = (DATA / "ollama_chat.ndjson").read_bytes()
    counts = {"stream_options": {"include_usage": True}}
    ours = events(translated(translator("/v1/chat/completions", Api.OLLAMA, **counts), stream))
    theirs = events((DATA / "ollama_v1_chat.sse").read_bytes())
    assert ours[-1] == theirs[-1] == "[DONE]"
    assert ours[-2]["choices"] == theirs[-2]["choices"] == []
    assert set(ours[-2]["usage"]) == set(theirs[-2]["usage"])
    for at in (0, 1):
        assert set(ours[at]) == set(theirs[at])
        assert set(ours[at]["choices"][0]) == set(theirs[at]["choices"][0])
        assert set(ours[at]["choices"][0]["delta"]) - {"role"} == set(theirs[at]["choices"][0]["delta"]) - {
            "role"
        }
    assert ours[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "role" not in ours[1]["choices"][0]["delta"]
    assert ours[-3]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "length"}
    assert len({(each["id"], each["created"], each["model"]) for each in ours[:-1]}) == 1


def test_counts_come_only_where_they_were_asked_for() -> None:
    stream = (DATA / "ollama_chat.ndjson").read_bytes()
    for asked_for in (None, {"include_usage": False}):
        made = events(
            translated(translator("/v1/chat/completions", Api.OLLAMA, stream_options=asked_for), stream)
        )
        assert all(each["choices"] for each in made[:-1])
        assert not any("usage" in each for each in made[:-1])


def ollama_stream(*messages: dict[str, Any], **end: Any) -> bytes:
    each = [
        {"model": "e", "created_at": "2026-11-29T16:00:00.5Z", "message": m, "done": False} for m in messages
    ]
    last = {
        "model": "e",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        **end,
    }
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in [*each, last])


def call(name: str, index: int, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"function": {"index": index, "name": name, "arguments": arguments}, **more}


def test_tool_calls_are_counted_keep_their_order_and_end_as_tool_calls() -> None:
    """Hard case 8: two calls in lines of their own, each with index 0; then a `done` without them."""
    order = {"z": 1, "a": {"y": [1, 2], "b": "ñ"}, "m": None}
    stream = ollama_stream(
        {"role": "assistant", "content": "", "tool_calls": [call("f", 0, order)]},
        {"role": "assistant", "content": "", "tool_calls": [call("g", 0, {}, id="call_x")]},
    )
    made = events(translated(translator("/v1/chat/completions", Api.OLLAMA), stream, 7))
    calls = [one for each in made[:-1] for one in each["choices"][0]["delta"].get("tool_calls", ())]
    assert [(one["index"], one["function"]["name"], one["type"]) for one in calls] == [
        (0, "f", "function"),
        (1, "g", "function"),
    ]
    assert list(json.loads(calls[0]["function"]["arguments"])) == ["z", "a", "m"]
    assert json.loads(calls[0]["function"]["arguments"]) == order
    assert calls[1]["id"] == "call_x"
    assert calls[0]["id"]
    assert made[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_one_call_at_a_time_where_the_client_wants_no_more() -> None:
    calls = [call("f", 0, {}), call("g", 1, {})]
    stream = ollama_stream({"role": "assistant", "content": "", "tool_calls": calls})
    made = translated(translator("/v1/chat/completions", Api.OLLAMA, parallel_tool_calls=False), stream)
    assert b'"name":"f"' in made
    assert b'"name":"g"' not in made


def test_thoughts_come_before_words_also_out_of_one_chunk() -> None:
    """Hard case 9."""
    stream = ollama_stream({"role": "assistant", "content": "So:", "thinking": "hm \u2028"})
    deltas = [
        each["choices"][0]["delta"]
        for each in events(translated(translator("/v1/chat/completions", Api.OLLAMA), stream))[:-1]
    ]
    assert deltas == [{"role": "assistant", "reasoning": "hm \u2028"}, {"content": "So:"}, {}]
    both = sse({"reasoning_content": "hm", "content": "So:"})
    made = lines(translated(translator("/api/chat", Api.OPENAI), both))
    assert made[0]["message"] == {"role": "assistant", "content": "So:", "thinking": "hm"}
    raw = lines(translated(translator("/api/generate", Api.OPENAI), both))
    assert (raw[0]["response"], raw[0]["thinking"], raw[-1]["response"]) == ("So:", "hm", "")


TEXTS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), max_size=5)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(1, 40), st.booleans())
def test_any_text_survives_any_cut_both_ways(texts: list[str], size: int, is_ascii: bool) -> None:
    """Hard case 10: characters and surrogate pairs cut between pieces; there and back again."""
    stream = b"".join(
        json.dumps(
            {"message": {"role": "assistant", "content": text}, "done": False}, ensure_ascii=is_ascii
        ).encode()
        + b"\n"
        for text in texts
    )
    stream += (
        b'{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":2}\n'
    )
    counts = {"stream_options": {"include_usage": True}}
    there = translated(translator("/v1/chat/completions", Api.OLLAMA, **counts), stream, size)
    assert words(there) == "".join(texts)
    back = translated(translator("/api/chat", Api.OPENAI), there, size)
    made = lines(back)
    assert "".join(each["message"]["content"] for each in made) == "".join(texts)
    assert (made[-1]["done"], made[-1]["prompt_eval_count"], made[-1]["eval_count"]) == (True, 3, 2)


def sse(*deltas: dict[str, Any], reason: str = "stop") -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": each}]} for each in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_pieces_of_tool_calls_become_whole_calls(size: int) -> None:
    stream = sse(
        {"role": "assistant", "content": None},
        {
            "tool_calls": [
                {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"z": 1.50, '}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"a": 2}'}}]},
        reason="tool_calls",
    )
    made = translated(translator("/api/chat", Api.OPENAI), stream, size)
    calls = lines(made)[0]["message"]["tool_calls"]
    assert calls == [
        {"id": "a", "function": {"index": 0, "name": "f", "arguments": {"z": 1.5, "a": 2}}},
        {"id": "b", "function": {"index": 1, "name": "g", "arguments": {}}},
    ]
    assert b'{"z":1.50,"a":2}' in made
    assert lines(made)[-1]["done_reason"] == "stop"


def test_servers_that_leave_the_index_out_are_understood() -> None:
    stream = sse(
        {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x"'}}]},
        {"tool_calls": [{"function": {"arguments": ":1}"}}]},
        {"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": "no object"}}]},
    )
    calls = lines(translated(translator("/api/chat", Api.OPENAI), stream))[0]["message"]["tool_calls"]
    assert [one["function"]["arguments"] for one in calls] == [{"x": 1}, {"arguments": "no object"}]


def test_errors_in_a_stream_are_errors_on_the_other_side_and_no_end() -> None:
    made = translated(
        translator("/v1/chat/completions", Api.OLLAMA), b'{"message":{"content":"a"}}\n{"error":"boom"}\n'
    )
    last = events(made)[-1]
    assert last["error"]["message"] == "boom"
    assert b"[DONE]" not in made
    for stream in (
        b'data: {"error":{"message":"boom","code":500}}\n\ndata: [DONE]\n\n',
        b'error: {"message":"boom"}\n\n',
        b'data: {"object":"error","message":"boom","code":400}\n\n',
        b'data: {"detail":"boom"}\n\n',
    ):
        assert lines(translated(translator("/api/chat", Api.OPENAI), stream)) == [{"error": "boom"}]
    for junk in (b"<html>no</html>\n", b'{"message":\n', b"\xff\n"):
        assert b'"error"' in translated(translator("/v1/completions", Api.OLLAMA), junk)
    # half a line at the end is a stream that broke off, which is told by whoever sees it break
    assert translated(translator("/v1/completions", Api.OLLAMA), b'{"message":') == b""
    assert translated(translator("/api/chat", Api.OPENAI), b'data: {"choices":') == b""


def test_a_stream_that_just_stops_stays_without_an_end() -> None:
    torn = (DATA / "ollama_chat.ndjson").read_bytes().splitlines(keepends=True)[:3]
    made = translated(translator("/v1/chat/completions", Api.OLLAMA), b"".join(torn))
    assert b"[DONE]" not in made
    assert b'finish_reason":"' not in made
    torn = (DATA / "llama_cpp_chat.sse").read_bytes().split(b"\n\n")[:3]
    assert not any(
        each["done"] for each in lines(translated(translator("/api/chat", Api.OPENAI), b"\n\n".join(torn)))
    )
    # llama.cpp's relatives send no [DONE]; they have told their reason
    told = sse({"content": "Hi"}).removesuffix(b"data: [DONE]\n\n")
    assert lines(translated(translator("/api/chat", Api.OPENAI), told))[-1]["done"] is True


def test_log_probabilities_cross_in_both_directions() -> None:
    data = (DATA / "ollama_chat_logprobs.ndjson").read_bytes()
    made = events(translated(translator("/v1/chat/completions", Api.OLLAMA), data))
    first = made[0]["choices"][0]["logprobs"]["content"][0]
    assert set(first) == {"token", "logprob", "bytes", "top_logprobs"}
    assert len(first["top_logprobs"]) == 2
    text = translated(
        translator("/v1/completions", Api.OLLAMA),
        data.replace(b'"message":{"role":"assistant","content":', b'"response":').replace(
            b'},"done"', b',"done"'
        ),
    )
    assert set(events(text)[0]["choices"][0]["logprobs"]) == {
        "tokens",
        "token_logprobs",
        "top_logprobs",
        "text_offset",
    }
    back = lines(
        translated(translator("/api/chat", Api.OPENAI), (DATA / "llama_cpp_chat_logprobs.sse").read_bytes())
    )
    assert back[0]["logprobs"][0]["token"] == back[0]["message"]["content"]


def test_plain_answers() -> None:
    chat = translator("/v1/chat/completions", Api.OLLAMA, stream=False)
    made = json.loads(chat.whole((DATA / "ollama_chat.json").read_bytes()))
    assert (made["object"], made["id"]) == ("chat.completion", "chatcmpl-7")
    assert made["choices"][0]["message"] == {"role": "assistant", "content": "Pumpkin Panna Cher -"}
    assert made["choices"][0]["finish_reason"] == "length"
    assert made["usage"] == {"prompt_tokens": 30, "completion_tokens": 8, "total_tokens": 38}
    back = translator("/api/chat", Api.OPENAI, stream=False)
    made = json.loads(back.whole((DATA / "llama_cpp_chat.json").read_bytes()))
    assert made["message"] == {"role": "assistant", "content": "A fruit is a fruit, but a"}
    assert (made["done"], made["done_reason"], made["eval_count"]) == (True, "length", 8)
    assert made["total_duration"] >= made["eval_duration"] > 0
    calls = [
        {"id": str(i), "type": "function", "function": {"name": n, "arguments": "{}"}}
        for i, n in enumerate("fg")
    ]
    tools = {"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]}
    made = json.loads(translator("/api/chat", Api.OPENAI).whole(json.dumps(tools).encode()))
    assert [one["function"]["name"] for one in made["message"]["tool_calls"]] == ["f", "g"]
    assert made["message"]["content"] == ""
    made = json.loads(translator("/api/chat", Api.OPENAI).whole(b'{"error":{"message":"boom"}}'))
    assert made == {"error": "boom"}


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"message":', b"[]", b"\xff"])
def test_what_is_no_answer_is_a_broken_one(body: bytes) -> None:
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        with pytest.raises(StreamBroken):
            translator(path, Api.OLLAMA).whole(body)
    with pytest.raises(StreamBroken):
        translator("/api/embed", Api.OPENAI).whole(body)
    assert b'"error"' in translator("/api/chat", Api.OPENAI).whole(body)


def test_vectors() -> None:
    openai = {
        "data": [{"index": 1, "embedding": [3.0]}, {"index": 0, "embedding": [1.5, -2]}],
        "usage": {"prompt_tokens": 4},
    }
    body = json.dumps(openai).encode()
    made = json.loads(translator("/api/embed", Api.OPENAI).whole(body))
    assert made == {"model": "m", "embeddings": [[1.5, -2], [3.0]], "prompt_eval_count": 4}
    assert json.loads(translator("/api/embeddings", Api.OPENAI).whole(body)) == {"embedding": [1.5, -2]}
    told = b'{"model":"e","embeddings":[[1.5,-2]],"prompt_eval_count":4}'
    made = json.loads(translator("/v1/embeddings", Api.OLLAMA).whole(told))
    assert made["data"] == [{"object": "embedding", "index": 0, "embedding": [1.5, -2]}]
    assert (made["model"], made["usage"]) == ("m", {"prompt_tokens": 4, "total_tokens": 4})
    packed = json.loads(translator("/v1/embeddings", Api.OLLAMA, encoding_format="base64").whole(told))
    assert packed["data"][0]["embedding"] == "AADAPwAAAMA="


def test_a_gap_is_filled_by_llama_cpp_in_its_own_way() -> None:
    stream = (
        b'data: {"content":"return","stop":false}\n\ndata: {"content":"","stop":true,"stop_type":"limit",'
        b'"tokens_evaluated":3,"tokens_predicted":1,"timings":{"prompt_ms":2.0,"predicted_ms":4.0}}\n\n'
    )
    for size in (1, 1000):
        made = lines(
            translated(translator("/api/generate", Api.OPENAI, "llama.cpp", suffix=")"), stream, size)
        )
        assert [each["response"] for each in made] == ["return", ""]
        assert (made[-1]["done_reason"], made[-1]["eval_count"], made[-1]["eval_duration"]) == (
            "length",
            1,
            4_000_000,
        )
