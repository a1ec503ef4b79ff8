"""Requests between the APIs: what is carried, what is refused by its field's name, and the round trip."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluido.gateway.wire import Api, Asked, BadRequest, Profile, Upstream, loaded, parse, to_upstream

HELLO = [{"role": "user", "content": "Hello"}]
ADDRESS = {"type": "image_url", "image_url": "http://x/y"}


def calling(arguments: str) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}


LOADED = Profile(model="e", runner={"num_ctx": 4096}, keep_alive="5m")
LLAMA_CPP = Profile(kind="llama.cpp", window_tokens=4096)
PICTURE = "iVBORw0KGgo="


def asked(path: str, **body: Any) -> Asked:
    return parse("POST", path, {}, json.dumps({"model": "m", **body}).encode())


def to_ollama(path: str = "/v1/chat/completions", profile: Profile = LOADED, **body: Any) -> Upstream:
    if "chat" in path:
        body = {"messages": HELLO, **body}
    return to_upstream(asked(path, **body), Api.OLLAMA, profile)


def to_openai(path: str = "/api/chat", profile: Profile = LLAMA_CPP, **body: Any) -> Upstream:
    if "chat" in path:
        body = {"messages": HELLO, **body}
    return to_upstream(asked(path, **body), Api.OPENAI, profile)


def body_of(upstream: Upstream) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(upstream.body)
    return made


def test_v1_keeps_the_window_its_defaults_and_the_bound() -> None:
    """What Ollama's own /v1 loses: the window, max_completion_tokens, and the truth about a long prompt."""
    upstream = to_ollama(max_completion_tokens=16)
    assert (upstream.path, body_of(upstream)) == (
        "/api/chat",
        {
            "model": "e",
            "messages": HELLO,
            "stream": False,
            "options": {"temperature": 1.0, "top_p": 1.0, "num_predict": 16, "num_ctx": 4096},
            "truncate": False,
            "keep_alive": "5m",
        },
    )
    assert body_of(to_ollama(temperature=0, top_p=0.5))["options"] == {
        "temperature": 0,
        "top_p": 0.5,
        "num_ctx": 4096,
    }
    assert body_of(to_ollama(profile=Profile(most_tokens=99)))["options"]["num_predict"] == 99


def test_sampling_stop_format_and_thinking_are_carried() -> None:
    schema = {"type": "object", "properties": {"z": {}, "a": {}}, "required": ["z", "a"]}
    upstream = to_ollama(
        seed=7,
        stop="END",
        presence_penalty=0.5,
        top_k=3,
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="minimal",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "x", "strict": True, "schema": schema},
        },
        stream=True,
    )
    made = body_of(upstream)
    options = {"seed": 7, "stop": ["END"], "presence_penalty": 0.5, "top_k": 3}
    assert made["options"] == {"temperature": 1.0, "top_p": 1.0, "num_ctx": 4096, **options}
    assert (made["logprobs"], made["top_logprobs"], made["think"], made["stream"]) == (True, 2, "low", True)
    assert list(made["format"]["properties"]) == ["z", "a"]
    assert body_of(to_ollama(response_format={"type": "json_object"}))["format"] == "json"
    assert "format" not in body_of(to_ollama(response_format={"type": "text"}))
    assert body_of(to_ollama(chat_template_kwargs={"enable_thinking": False}))["think"] is False
    assert body_of(to_ollama(reasoning={"effort": "ultra"}))["think"] == "max"


TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"z": {}, "a": {}}}},
}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [
        {"type": "text", "text": "What"}, {"type": "text", "text": "is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    ]},
    {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"z": 1.50, "a": "ñ"}'}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}},
    ]},
    {"role": "tool", "tool_call_id": "c2", "content": "two"},
    {"role": "tool", "tool_call_id": "c1", "content": "one"},
]  # fmt: skip


def test_a_conversation_with_tools_and_pictures() -> None:
    upstream = to_ollama(messages=CONVERSATION, tools=[TOOL])
    assert body_of(upstream)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What\nis this?", "images": [PICTURE]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [
                {"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"z": 1.5, "a": "ñ"}}},
                {"id": "c2", "function": {"index": 1, "name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "two", "tool_call_id": "c2", "tool_name": "g"},
        {"role": "tool", "content": "one", "tool_call_id": "c1", "tool_name": "f"},
    ]
    assert '{"z": 1.50, "a": "ñ"}'.encode() in upstream.body  # in its own order and digits
    assert json.dumps([TOOL]).encode() in upstream.body


def test_a_choice_of_tools_is_carried_as_far_as_it_goes_and_told() -> None:
    other = {"type": "function", "function": {"name": "g"}}
    assert "tools" not in body_of(to_ollama(tools=[TOOL], tool_choice="none"))
    assert to_ollama(tools=[TOOL], tool_choice="auto").changed == ()
    named = to_ollama(tools=[TOOL, other], tool_choice={"type": "function", "function": {"name": "g"}})
    assert (body_of(named)["tools"], named.changed) == ([other], ("tool_choice g->auto",))
    assert to_ollama(tools=[TOOL], tool_choice="required").changed == ("tool_choice required->auto",)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("n", {"n": 2}),
        ("best_of", {"best_of": 2}),
        ("logit_bias", {"logit_bias": {"5": 1}}),
        ("modalities", {"modalities": ["text", "audio"]}),
        ("audio", {"audio": {"voice": "x"}}),
        ("web_search_options", {"web_search_options": {}}),
        ("functions", {"functions": [{}]}),
        ("response_format", {"response_format": {"type": "grammar"}}),
        ("chat_template_kwargs", {"chat_template_kwargs": {"other": 1}}),
        ("of_tomorrow", {"of_tomorrow": 1}),
        ("guided_json", {"guided_json": {}}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}),
        ("messages", {"messages": [{"role": "user", "content": [ADDRESS]}]}),
        ("messages", {"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}),
    ],
)  # fmt: skip
def test_what_an_ollama_cannot_do_is_refused_by_name(field: str, body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="cannot be carried to an Ollama") as caught:
        to_ollama(**body)
    assert (caught.value.field, caught.value.code) == (field, "unsupported_parameter")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"messages": []}, "say at least one"),
        ({"messages": [{"content": "x"}]}, r"messages\[0\].*role"),
        ({"messages": [{"role": "user", "content": 5}]}, "a text or a list of parts"),
        ({"messages": [calling("{")]}, "no JSON"),
        ({"messages": [calling("[]")]}, "object"),
        ({"stop": [1]}, "stop must be"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"reasoning_effort": "much"}, "is none of none, minimal"),
        ({"response_format": {"type": "json_schema"}}, "has no schema"),
        ({"response_format": "json"}, "must be an object"),
        ({"tools": [TOOL], "tool_choice": {"function": {"name": "h"}}}, "h, which is not among the tools"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(body: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        to_ollama(**body)


def test_what_says_nothing_is_no_reason_to_refuse() -> None:
    """Null, defaults, hints: SDKs and pages send them all the time."""
    silent = {
        "n": 1, "logit_bias": {}, "user": "ana", "metadata": {"a": "b"}, "store": False, "functions": None,
        "modalities": ["text"], "service_tier": "auto", "parallel_tool_calls": True, "of_tomorrow": None,
        "stream_options": {"include_usage": True}, "prompt_cache_key": "x", "tools": None, "stop": None,
        "prediction": {"type": "content", "content": "x"}, "verbosity": "low", "max_tokens": None,
    }  # fmt: skip
    assert body_of(to_ollama(**silent)) == body_of(to_ollama())


def test_runner_options_of_a_knowing_client_are_told() -> None:
    upstream = to_ollama(options={"num_ctx": 8192, "mirostat": 1}, num_gpu=1, keep_alive=0, shift=False)
    assert upstream.changed == (
        "num_ctx 8192->4096",
        "num_gpu 1->unset",
        "keep_alive 0->5m",
        "shift false->unset",
    )
    assert body_of(upstream)["options"] == {"temperature": 1.0, "top_p": 1.0, "mirostat": 1, "num_ctx": 4096}
    watching = body_of(to_ollama(options={"num_ctx": 8192}, profile=Profile(is_guarding=False)))
    assert watching["options"]["num_ctx"] == 8192
    assert "truncate" not in watching


def test_text_completions_with_a_gap() -> None:
    upstream = to_ollama("/v1/completions", prompt="def f(", suffix=")", max_tokens=9, logprobs=2)
    made = body_of(upstream)
    assert (upstream.path, made["prompt"], made["suffix"]) == ("/api/generate", "def f(", ")")
    assert (made["logprobs"], made["top_logprobs"], made["options"]["num_predict"]) == (True, 2, 9)
    assert body_of(to_ollama("/v1/completions", prompt=["one"]))["prompt"] == "one"
    for prompt, why in ((["a", "b"], "one prompt at a time"), ([1, 2], "text, not tokens")):
        with pytest.raises(BadRequest, match=why):
            to_ollama("/v1/completions", prompt=prompt)
    with pytest.raises(BadRequest, match="echo cannot be carried"):
        to_ollama("/v1/completions", prompt="x", echo=True)


def test_vectors_are_asked_for() -> None:
    upstream = to_ollama("/v1/embeddings", input=["a", "b"], encoding_format="base64", dimensions=8, user="x")
    assert (upstream.path, body_of(upstream)) == (
        "/api/embed",
        {
            "model": "e",
            "input": ["a", "b"],
            "dimensions": 8,
            "options": {"num_ctx": 4096},
            "keep_alive": "5m",
        },
    )
    for wrong in ([], None, [[1, 2]]):
        with pytest.raises(BadRequest, match="input"):
            to_ollama("/v1/embeddings", input=wrong)
    upstream = to_openai("/api/embed", input="a", options={"num_ctx": 5}, truncate=True, keep_alive="5m")
    assert (upstream.path, body_of(upstream)) == (
        "/v1/embeddings",
        {"model": "m", "input": ["a"], "encoding_format": "float"},
    )
    assert body_of(to_openai("/api/embeddings", prompt="a"))["input"] == "a"


def test_an_ollama_client_of_llama_cpp() -> None:
    upstream = to_openai(
        options={
            "num_ctx": 8192,
            "num_predict": 5,
            "seed": -1,
            "top_k": 3,
            "stop": "x",
            "repeat_penalty": 1.1,
        }
        | {"num_keep": 4, "min_p": 0.1, "unheard_of": 1},
        think=True,
        format={"type": "object", "properties": {"z": {}, "a": {}}},
        keep_alive=-1,
        tools=[TOOL],
        logprobs=True,
        top_logprobs=2,
    )
    made = body_of(upstream)
    assert upstream.path == "/v1/chat/completions"
    assert upstream.changed == ("num_ctx 8192->4096", "unheard_of 1->unset")
    assert list(made["response_format"]["json_schema"]["schema"]["properties"]) == ["z", "a"]
    carried = {"max_tokens": 5, "top_k": 3, "stop": ["x"], "repeat_penalty": 1.1, "n_keep": 4, "min_p": 0.1}
    assert {name: made[name] for name in carried} == carried
    assert "seed" not in made
    assert made["chat_template_kwargs"] == {"enable_thinking": True}
    assert (made["logprobs"], made["top_logprobs"], made["tools"]) == (True, 2, [TOOL])
    assert (made["stream"], made["stream_options"]) == (True, {"include_usage": True})
    vllm = body_of(to_openai(profile=Profile(kind="vllm", most_tokens=77), options={"repeat_penalty": 1.1}))
    assert (vllm["repetition_penalty"], vllm["max_tokens"]) == (1.1, 77)
    assert body_of(to_openai(think="max"))["reasoning_effort"] == "high"


def test_ollama_s_tool_calls_without_ids_get_them() -> None:
    calls = [{"function": {"name": name, "arguments": {"z": 1, "a": 2}}} for name in "fg"]
    messages = [
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_name": "g", "content": "two"},
        {"role": "tool", "content": "one"},
        {"role": "user", "content": "what?", "images": ["/9j/4AAQ"]},
    ]  # fmt: skip
    made = body_of(to_openai(messages=messages))["messages"]
    ids = [call["id"] for call in made[0]["tool_calls"]]
    assert len(set(ids)) == 2
    assert [made[1]["tool_call_id"], made[2]["tool_call_id"]] == [ids[1], ids[0]]
    assert list(json.loads(made[0]["tool_calls"][0]["function"]["arguments"])) == ["z", "a"]
    assert made[3]["content"][1]["image_url"]["url"] == "data:image/jpeg;base64,/9j/4AAQ"


def test_generate_goes_by_the_template_or_raw_or_with_a_gap() -> None:
    plain = to_openai("/api/generate", prompt="Hi", system="Be brief.", images=[PICTURE])
    messages = body_of(plain)["messages"]
    assert (plain.path, messages[0]) == ("/v1/chat/completions", {"role": "system", "content": "Be brief."})
    assert messages[1]["content"][0] == {"type": "text", "text": "Hi"}
    raw = to_openai("/api/generate", prompt="Hi", raw=True, context=[], template="")
    assert (raw.path, body_of(raw)["prompt"]) == ("/v1/completions", "Hi")
    gap = to_openai("/api/generate", prompt="def f(", suffix=")")
    assert (gap.path, body_of(gap)["input_prefix"], body_of(gap)["input_suffix"]) == (
        "/infill",
        "def f(",
        ")",
    )
    assert (
        to_openai("/api/generate", prompt="x", suffix="y", profile=Profile(kind="vllm")).path
        == "/v1/completions"
    )


@pytest.mark.parametrize(
    ("field", "path", "body"),
    [
        ("context", "/api/generate", {"prompt": "x", "context": [1, 2]}),
        ("template", "/api/generate", {"prompt": "x", "template": "{{ .Prompt }}"}),
        ("images", "/api/generate", {"prompt": "x", "raw": True, "images": [PICTURE]}),
        ("truncate", "/api/chat", {"truncate": True}),
        ("of_tomorrow", "/api/chat", {"of_tomorrow": 1}),
        ("format", "/api/chat", {"format": "xml"}),
        ("think", "/api/chat", {"think": 3}),
    ],
)
def test_what_such_an_engine_cannot_do_is_refused_by_name(
    field: str, path: str, body: dict[str, Any]
) -> None:
    with pytest.raises(BadRequest, match=field) as caught:
        to_openai(path, **body)
    assert caught.value.field == field


def test_other_routes_need_an_engine_of_their_own_api() -> None:
    with pytest.raises(BadRequest, match="needs an engine that has it") as caught:
        to_upstream(asked("/v1/responses", input="x"), Api.OLLAMA, LOADED)
    assert caught.value.http_status == 404
    made = asked("/v1/responses", input="x")
    assert to_upstream(made, Api.OPENAI, Profile()).body == made.body


def test_a_load_is_answered_as_ollama_does() -> None:
    """Hard case 4: LangChain warns of a load with empty content, and drops it."""
    load = json.loads(loaded(asked("/api/chat", messages=[]), 1e9))
    assert (load["message"], load["done"], load["done_reason"]) == (
        {"role": "assistant", "content": ""},
        True,
        "load",
    )
    unload = json.loads(loaded(asked("/api/generate", prompt="", keep_alive=0), 1e9))
    assert (unload["response"], unload["done_reason"]) == ("", "unload")


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
CALL = st.tuples(TEXT.filter(bool), st.dictionaries(TEXT, st.integers() | TEXT, max_size=3))
CALLS = st.lists(CALL, min_size=1, max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for i in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["system", "user", "picture", "tools"]))
        if kind == "tools":
            calls = [
                {"id": f"c{i}_{j}", "function": {"index": j, "name": name, "arguments": arguments}}
                for j, (name, arguments) in enumerate(draw(CALLS))
            ]
            messages.append({"role": "assistant", "content": draw(TEXT), "tool_calls": calls})
            for call in draw(st.permutations(calls)):
                reply = {"tool_call_id": call["id"], "tool_name": call["function"]["name"]}
                messages.append({"role": "tool", "content": draw(TEXT), **reply})
        elif kind == "picture":
            messages.append({"role": "user", "content": draw(TEXT), "images": [PICTURE]})
        else:
            messages.append({"role": kind, "content": draw(TEXT)})
    return messages


@settings(max_examples=60, deadline=None)
@given(
    conversations(), st.sampled_from([None, "json", {"type": "object"}]), st.sampled_from([None, True, "low"])
)
def test_a_request_comes_home_from_its_round_trip(
    messages: list[dict[str, Any]], form: Any, think: Any
) -> None:
    """From Ollama's API to OpenAI's and back: the same conversation, options, format and thinking."""
    options = {"temperature": 0.5, "top_p": 0.25, "num_predict": 9, "stop": ["a", "b"], "seed": 3}
    there = to_upstream(
        asked("/api/chat", messages=messages, options=options, format=form, think=think),
        Api.OPENAI,
        Profile(),
    )
    back = to_upstream(
        parse("POST", there.path, {}, there.body), Api.OLLAMA, Profile(truncates=True, is_guarding=False)
    )
    made = body_of(back)
    assert made["messages"] == messages
    assert made["options"] == options
    assert (made.get("format"), made.get("think")) == (form, think)
