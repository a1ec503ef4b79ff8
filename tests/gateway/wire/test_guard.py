"""The guard against reloads: five clients with five option sets ask one model in one way."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluido.gateway.wire import (
    Api,
    Asked,
    BadRequest,
    KeepAlive,
    Profile,
    conflicts,
    header_of,
    is_same_model,
    parse,
    to_upstream,
    wishes,
)
from fluido.gateway.wire._durations import FOR_EVER, seconds_of
from fluido.llm._profile import RUNNER_FIELDS

HELLO = [{"role": "user", "content": "Hello"}]
LOADED = Profile(runner={"num_ctx": 32768}, keep_alive=-1)


def asked(path: str = "/api/chat", **body: Any) -> Asked:
    return parse(
        "POST", path, {}, json.dumps({"model": "m", "messages": HELLO, "prompt": "x", **body}).encode()
    )


def sent(request: Asked, profile: Profile = LOADED) -> tuple[dict[str, Any], tuple[str, ...]]:
    upstream = to_upstream(request, Api.OLLAMA, profile)
    return json.loads(upstream.body), upstream.changed


CLIENTS: dict[str, dict[str, Any]] = {
    "Home Assistant": {"options": {"num_ctx": 8192}, "keep_alive": "-1s", "think": False},
    "Open WebUI": {"options": {}, "stream": True},
    "Continue": {"options": {"num_ctx": 32768, "num_predict": 2048}, "keep_alive": 1800},
    "aider": {"options": {"num_ctx": 9182.0, "num_thread": 8, "num_gpu": -1}},
    "plain": {},
    "who shifts": {"shift": False, "options": {"use_mmap": False, "num_batch": 64, "main_gpu": 1}},
    "who says nothing": {"options": None, "keep_alive": None, "shift": None},
    "with capitals": {"OPTIONS": {"num_ctx": 512}, "Keep_Alive": 5},
}


def test_all_clients_ask_the_runner_for_the_same() -> None:
    """Hard cases 1 and 2: one load, whoever asks."""
    seen = set()
    for body in CLIENTS.values():
        made, _ = sent(asked(**body))
        folded = {name.casefold(): value for name, value in made.items()}
        options = folded.get("options") or {}
        runner = {name: options[name] for name in sorted(RUNNER_FIELDS) if options.get(name) is not None}
        runner.pop("num_gpu", None) if runner.get("num_gpu") == -1 else None
        seen.add(json.dumps([runner, folded.get("shift"), seconds_of(folded["keep_alive"])]))
    assert seen == {json.dumps([{"num_ctx": 32768}, None, FOR_EVER])}


def test_an_automatic_window_stays_automatic_for_all() -> None:
    """An absent num_ctx equals only another absent one, whatever number the engine chose."""
    for body in CLIENTS.values():
        made, _ = sent(asked(**body), Profile())
        options = {name.casefold(): value for name, value in made.items()}.get("options") or {}
        assert "num_ctx" not in options


def test_each_change_is_told() -> None:
    made, changed = sent(asked(**CLIENTS["Home Assistant"]))
    assert changed == ("num_ctx 8192->32768", "truncate unset->false")
    made, changed = sent(asked(shift=False, keep_alive=0, options={"num_gpu": 20}), Profile(shift=True))
    assert changed == (
        "num_gpu 20->unset",
        "truncate unset->false",
        "shift false->true",
        "keep_alive 0->unset",
    )
    assert made["shift"] is True
    assert "keep_alive" not in made
    assert (
        header_of(("model a\r\nSet-Cookie: x->m", "num_ctx 1->2"))
        == b"model a??Set-Cookie: x->m; num_ctx 1->2"
    )


def test_a_header_holds_no_letter_that_breaks_it() -> None:
    assert header_of(("model \x00\x7f\u00f1\r\n->m",)) == b"model ?????->m"


def test_wishes_are_seen_without_being_changed() -> None:
    observed = asked(options={"num_ctx": 8192, "num_gpu": -1, "temperature": 0.1, "num_thread": None})
    assert wishes(observed) == {"num_ctx": 8192}
    assert conflicts(observed, LOADED) == ("num_ctx 8192->32768",)
    assert conflicts(asked(), LOADED) == ()
    upstream = to_upstream(observed, Api.OLLAMA, Profile(is_guarding=False, runner={"num_ctx": 1}))
    assert (upstream.body, upstream.changed) == (observed.body, ())


def test_what_the_guard_does_not_own_stays_byte_for_byte() -> None:
    body = (
        b'{ "messages" :[{"content":"\\u00f1 \xc3\xb1","role":"user","x":1e2}],\n"model": "m" ,'
        b' "z":{"a" : 1.0},"options" : {"seed":1.50, "num_ctx" : 8192 ,"b":[ ]}\t}'
    )
    upstream = to_upstream(
        parse("POST", "/api/chat", {}, body), Api.OLLAMA, Profile(runner={"num_ctx": 4096})
    )
    wanted = body.replace(b"8192", b"4096").replace(b"{ ", b'{"truncate":false, ', 1)
    assert upstream.body == wanted


NAMES = st.sampled_from([*sorted(RUNNER_FIELDS), "temperature", "seed", "future", "num_predict"])
GIVEN = st.integers(-1, 9) | st.none() | st.booleans()


@settings(max_examples=50, deadline=None)
@given(
    st.none() | st.dictionaries(NAMES, GIVEN, max_size=6),
    st.dictionaries(st.sampled_from(sorted(RUNNER_FIELDS)), st.integers(1, 9), max_size=3),
    st.sampled_from([None, True, False]),
)
def test_whatever_is_asked_the_runner_is_asked_alike(
    options: dict[str, Any] | None, runner: dict[str, int], shift: bool | None
) -> None:
    if options is not None and isinstance(options.get("num_predict"), bool):
        options.pop("num_predict")
    body: dict[str, Any] = {"options": options, "future": [1]}
    made, _ = sent(asked(**body), Profile(runner=runner, shift=shift))
    got = made.get("options") or {}
    automatic = {"num_gpu": -1, "num_thread": 0}
    for name in RUNNER_FIELDS:
        value = got.get(name)
        assert (None if automatic.get(name) == value and name not in runner else value) == runner.get(name)
        assert type(value) is not bool or name not in runner
    others = {name: value for name, value in (options or {}).items() if name not in RUNNER_FIELDS}
    assert {name: value for name, value in got.items() if name not in RUNNER_FIELDS} == others
    assert (made.get("shift"), made["future"], made["messages"]) == (shift, [1], HELLO)


def test_a_prompt_that_is_too_long_is_refused_and_not_cut_unless_the_client_says_so() -> None:
    assert sent(asked())[0]["truncate"] is False
    assert sent(asked(truncate=None))[0]["truncate"] is False
    assert sent(asked(truncate=True))[0]["truncate"] is True
    assert "truncate" not in sent(asked(), Profile(truncates=True))[0]
    # Vectors of the first pages of a document are what people want of a document.
    assert "truncate" not in sent(asked("/api/embed", input="x"))[0]


def test_an_answer_without_a_bound_gets_the_house_s() -> None:
    bounded = Profile(most_tokens=4096)
    made, changed = sent(asked(options={"num_predict": -1}), bounded)
    assert made["options"] == {"num_predict": 4096}
    assert "num_predict -1->4096" in changed
    assert sent(asked(options={"num_predict": 7}), bounded)[0]["options"] == {"num_predict": 7}
    upstream = to_upstream(asked("/v1/chat/completions"), Api.OPENAI, bounded)
    assert json.loads(upstream.body)["max_tokens"] == 4096


def test_unloading_is_left_as_it_is_where_it_is_done() -> None:
    """Hard case 3: whether a model may go is decided before; then Ollama has to hear it."""
    assert sent(asked(messages=[], keep_alive=0))[0]["keep_alive"] == 0
    assert sent(asked(keep_alive=0))[0]["keep_alive"] == -1
    assert "truncate" not in sent(asked(messages=[]))[0]


def test_the_longest_wish_to_stay_wins() -> None:
    keep = KeepAlive()
    for told, kept in ((None, None), (0, None), ("0s", None), ("5m", "5m"), (60, "5m"), (1800, 1800)):
        keep.advise(told)
        assert keep.value == kept
    for told, kept in (("nonsense", 1800), ("-1m", "-1m"), (-1, "-1m"), ("24h", "-1m")):
        keep.advise(told)
        assert keep.value == kept


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        *(("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("300ms", 0.3), (30, 30), ("0", 0), ("+5m", 300)),
        *((-1, FOR_EVER), ("-1s", FOR_EVER)),
        *(("5", None), ("", None), ("5 m", None), ("m", None), ("1d", None)),
    ],
)
def test_durations_are_go_s(told: str | float, seconds: float | None) -> None:
    assert seconds_of(told) == seconds


def test_a_duration_that_ollama_would_refuse_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match="keep_alive '1d' is no duration") as caught:
        asked(keep_alive="1d")
    assert caught.value.field == "keep_alive"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("llama3", "llama3:latest", True),
        ("llama3", "LLAMA3", True),
        ("library/llama3", "registry.ollama.ai/library/llama3:latest", True),
        ("llama3", "llama3:8b", False),
        ("hf.co/a/b", "hf.co/a/b:latest", True),
        ("me/llama3", "llama3", False),
    ],
)
def test_names_of_one_model(one: str, other: str, same: bool) -> None:
    assert is_same_model(one, other) is same


def test_an_alias_is_written_where_the_name_stood() -> None:
    loaded = Profile(model="llama3:8b")
    made, changed = sent(asked(options={}, truncate=False), loaded)
    assert made["model"] == "llama3:8b"
    assert changed == ("model m->llama3:8b",)
    shown = parse("POST", "/api/show", {}, b'{"name":"small"}')
    assert to_upstream(shown, Api.OLLAMA, loaded).body == b'{"name":"llama3:8b"}'
    assert to_upstream(asked("/v1/completions"), Api.OPENAI, loaded).changed == ("model m->llama3:8b",)
    assert sent(asked(model="llama3", truncate=False), Profile(model="llama3:latest"))[1] == ()


def test_our_own_fields_go_to_an_openai_engine() -> None:
    request = asked("/v1/chat/completions", id_slot=7, stream=True)
    upstream = to_upstream(request, Api.OPENAI, Profile(extra={"id_slot": 2, "cache_prompt": True}))
    made = json.loads(upstream.body)
    assert (made["id_slot"], made["cache_prompt"], made["messages"]) == (2, True, HELLO)


def test_counts_that_only_we_asked_for_do_not_reach_the_client() -> None:
    request = asked("/v1/chat/completions", stream=True, stream_options={"chunk": 1})
    upstream = to_upstream(request, Api.OPENAI, Profile(wants_usage=True, kind="vllm"))
    assert json.loads(upstream.body)["stream_options"] == {"chunk": 1, "include_usage": True}
    assert upstream.translator is not None
    text = b'data: {"choices":[{"delta":{"content":"\\"choices\\":[] \\"usage\\""}}]}\n\n'
    count = b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":3}}\n\n'
    stream = text + count + b"data: [DONE]\n\n"
    for size in (1, 7, 1000):
        translator = to_upstream(request, Api.OPENAI, Profile(wants_usage=True)).translator
        assert translator is not None
        pieces = [translator.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
        assert b"".join(pieces) + translator.end() == text + b"data: [DONE]\n\n"
    told = asked("/v1/chat/completions", stream=True, stream_options={"include_usage": True})
    upstream = to_upstream(told, Api.OPENAI, Profile(wants_usage=True))
    assert upstream.body == told.body
    assert upstream.translator is not None
    assert upstream.translator.feed(stream) == stream
