"""What a request asks, for every route of both APIs."""

import json
from typing import Any

import pytest

from fluido.gateway.wire import MAX_BODY_BYTES, Api, Asked, BadRequest, Route, parse
from fluido.gateway.wire._weight import IMAGE_TOKENS

HELLO = [{"role": "user", "content": "Hello"}]


def asked(path: str, _method: str = "POST", **body: Any) -> Asked:
    return parse(_method, path, {}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("method", "path", "api", "route"),
    [
        ("GET", "/", Api.OLLAMA, Route.ROOT),
        ("HEAD", "/", Api.OLLAMA, Route.ROOT),
        ("GET", "/api/version", Api.OLLAMA, Route.VERSION),
        ("HEAD", "/api/tags", Api.OLLAMA, Route.LIST),
        ("GET", "/api/ps", Api.OLLAMA, Route.PS),
        ("POST", "/api/show", Api.OLLAMA, Route.SHOW),
        ("POST", "/api/chat", Api.OLLAMA, Route.CHAT),
        ("POST", "/api/generate", Api.OLLAMA, Route.GENERATE),
        ("POST", "/api/embed", Api.OLLAMA, Route.EMBED),
        ("POST", "/api/embeddings", Api.OLLAMA, Route.EMBED),
        ("DELETE", "/api/delete", Api.OLLAMA, Route.MANAGE),
        ("HEAD", "/api/blobs/sha256:00", Api.OLLAMA, Route.MANAGE),
        ("GET", "/v1/models", Api.OPENAI, Route.LIST),
        ("GET", "/v1/models/a%2Fb", Api.OPENAI, Route.SHOW),
        ("POST", "/v1/chat/completions", Api.OPENAI, Route.CHAT),
        ("POST", "/v1/completions", Api.OPENAI, Route.GENERATE),
        ("POST", "/v1/embeddings", Api.OPENAI, Route.EMBED),
        ("POST", "/v1/responses", Api.OPENAI, Route.PASS),
        ("POST", "/v1/messages", Api.OPENAI, Route.PASS),
        ("POST", "/v1/fine_tuning/jobs", Api.OPENAI, Route.UNKNOWN),
        ("GET", "/favicon.ico", Api.OLLAMA, Route.UNKNOWN),
    ],
)
def test_every_path_has_its_api_and_route(method: str, path: str, api: Api, route: Route) -> None:
    body = b'{"model":"m","messages":[],"input":"x"}' if method == "POST" else b""
    made = parse(method, path, {}, body)
    assert (made.api, made.route) == (api, route)


def test_a_wrong_method_is_405() -> None:
    with pytest.raises(BadRequest, match="GET is not a method of /api/chat") as caught:
        parse("GET", "/api/chat", {}, b"")
    assert caught.value.http_status == 405


def test_streams_are_the_default_of_ollama_only() -> None:
    assert asked("/api/chat", model="m", messages=HELLO).is_stream
    assert asked("/api/generate", model="m", prompt="x", stream=None).is_stream
    assert not asked("/api/chat", model="m", messages=HELLO, stream=False).is_stream
    assert not asked("/api/embed", model="m", input="x").is_stream
    assert not asked("/v1/chat/completions", model="m", messages=HELLO).is_stream
    assert asked("/v1/chat/completions", model="m", messages=HELLO, stream=True).is_stream


@pytest.mark.parametrize(
    ("path", "body", "most"),
    [
        ("/api/chat", {"options": {"num_predict": 16}}, 16),
        ("/api/chat", {"options": {"num_predict": -1}}, None),
        ("/api/chat", {"options": {"num_predict": None}}, None),
        ("/v1/chat/completions", {"max_completion_tokens": 16}, 16),
        ("/v1/chat/completions", {"max_tokens": 16}, 16),
        ("/v1/chat/completions", {"max_tokens": 3, "max_completion_tokens": 5}, 5),
        ("/v1/chat/completions", {"max_tokens": 0}, 0),
        ("/v1/chat/completions", {}, None),
        ("/v1/completions", {"n_predict": 9}, 9),
        ("/v1/responses", {"max_output_tokens": 7}, 7),
    ],
)
def test_the_bound_has_many_names(path: str, body: dict[str, Any], most: int | None) -> None:
    assert asked(path, model="m", messages=HELLO, prompt="x", **body).most_tokens == most


def test_empty_messages_load_and_zero_keep_alive_unloads() -> None:
    assert asked("/api/chat", model="m").is_empty
    assert asked("/api/chat", model="m", messages=None).is_empty
    assert asked("/api/generate", model="m", prompt="").is_empty
    assert not asked("/api/chat", model="m", messages=HELLO, keep_alive=0).is_empty
    assert not asked("/v1/chat/completions", model="m", messages=[]).is_empty
    for nothing in (0, 0.0, "0", "0s", "0m0s", "-0"):
        assert asked("/api/chat", model="m", messages=[], keep_alive=nothing).is_unload, nothing
    for something in (-1, "5m", "-1s", 300, None, "10s"):
        assert not asked("/api/chat", model="m", messages=[], keep_alive=something).is_unload, something


def test_show_takes_either_name() -> None:
    """Continue sends `name`, others `model`."""
    assert asked("/api/show", name="llama3").model == "llama3"
    assert asked("/api/show", model="llama3").model == "llama3"
    assert parse("GET", "/v1/models/hf.co%2Fx%2Fy:Q4", {}, b"").model == "hf.co/x/y:Q4"


def chain_of(*messages: dict[str, Any], **more: Any) -> tuple[int, ...]:
    return asked("/api/chat", model="m", messages=list(messages), **more).chain


def test_the_chain_names_every_prefix() -> None:
    one, two, other = ({"role": "user", "content": text} for text in ("a", "b", "c"))
    assert chain_of(one, two)[0] == chain_of(one)[0]
    assert chain_of(one, two)[1] != chain_of(one, other)[1]
    assert chain_of(one, two)[1] != chain_of(two, one)[1]
    # what samples does not change the prompt; what the template reads does, known to us or not
    plain = chain_of(one)
    assert chain_of(one, options={"seed": 3}, keep_alive=5, stream=False) == plain
    for changing in ({"tools": [{}]}, {"think": True}, {"format": "json"}, {"of_tomorrow": 1}):
        assert chain_of(one, **changing) != plain, changing
    assert chain_of(one) == plain != asked("/api/chat", model="n", messages=[one]).chain


def test_a_picture_weighs_a_constant_whatever_its_bytes() -> None:
    small, large = ("A" * size for size in (400, 400_000))
    for picture in (small, large):
        ollama = asked("/api/chat", model="m", messages=[{**HELLO[0], "images": [picture, picture]}])
        url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
        parts = [{"type": "text", "text": "Hello"}, url]
        openai = asked("/v1/chat/completions", model="m", messages=[{"role": "user", "content": parts}])
        raw = asked("/api/generate", model="m", prompt="Hello", images=[picture])
        assert (ollama.images, openai.images, raw.images) == (2, 1, 1)
        for made in (ollama, openai, raw):
            assert made.images * IMAGE_TOKENS < made.prompt_tokens < made.images * IMAGE_TOKENS + 40


def test_a_text_weighs_by_its_script() -> None:
    def tokens(text: str) -> int:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}, ensure_ascii=False)
        return parse("POST", "/api/chat", {}, body.encode()).prompt_tokens

    assert 240 < tokens("word " * 200) < 400
    assert 1200 < tokens("日本語" * 300) < 1800
    assert 240 < tokens("años y más " * 60) < 400


def test_tokens_as_numbers_weigh_one_each() -> None:
    assert asked("/v1/completions", model="m", prompt=list(range(10_000, 10_500))).prompt_tokens == 500
    assert asked("/v1/embeddings", model="m", input=["word " * 100] * 100).prompt_tokens > 10_000


@pytest.mark.parametrize(
    ("content", "is_background"),
    [
        ("### Task:\nGenerate a concise, 3-5 word title with an emoji", True),
        ("### Task:\nGenerate 1-3 broad tags categorizing the main themes", True),
        ("### Task:\nSuggest 3-5 relevant follow-up questions", True),
        (
            "### Task:\nAnalyze the chat history to determine the necessity of generating search queries",
            False,
        ),
        ("### Task:\nRespond to the user query using the provided context, with citations", False),
        ("Write a ### Task: list", False),
    ],
)
def test_a_page_s_own_work_is_told_from_a_person_s(content: str, is_background: bool) -> None:
    """Open WebUI's templates: of those that begin alike, a person waits for the answer of two."""
    message = {"role": "user", "content": content}
    for path in ("/api/chat", "/v1/chat/completions"):
        assert asked(path, model="m", messages=[message]).is_background is is_background
        parts = [{"type": "text", "text": content}]
        assert asked(path, model="m", messages=[{**message, "content": parts}]).is_background is is_background
        later = [*HELLO, {"role": "assistant", "content": "Hi"}, message]
        assert not asked(path, model="m", messages=later).is_background


def test_who_asks_is_told_by_the_page_or_the_client() -> None:
    body = json.dumps({"model": "m", "messages": HELLO, "user": "ana"}).encode()
    assert parse("POST", "/v1/chat/completions", {}, body).user == "ana"
    assert parse("POST", "/v1/chat/completions", {b"x-openwebui-user-id": b"7"}, body).user == "7"


@pytest.mark.parametrize(
    ("path", "body", "said", "field"),
    [
        ("/api/chat", {"model": 3}, "model must be a string", "model"),
        ("/api/chat", {"messages": "hi"}, "list of messages", "messages"),
        ("/api/chat", {"messages": ["hi"]}, r"messages\[0\] must be an object", "messages"),
        ("/api/chat", {"messages": HELLO, "stream": "yes"}, "stream must be", "stream"),
        ("/api/chat", {"messages": HELLO, "options": []}, "options must be a JSON object", "options"),
        ("/api/chat", {"options": {"num_predict": "ten"}}, "whole number", "options.num_predict"),
        ("/api/chat", {"messages": HELLO, "options": "num_ctx"}, "options must be a JSON object", "options"),
        ("/api/chat", {"messages": HELLO, "keep_alive": "soon"}, "no duration", "keep_alive"),
        ("/api/chat", {"messages": HELLO, "keep_alive": True}, "keep_alive must be", "keep_alive"),
        ("/v1/chat/completions", {"messages": HELLO, "n": 0}, "n must be", "n"),
        ("/v1/chat/completions", {"messages": HELLO, "n": 1e9}, "n must be", "n"),
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": True}, "whole number", "max_tokens"),
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": 1e400}, "valid JSON|whole", None),
    ],
)
def test_a_wrong_field_is_named(path: str, body: dict[str, Any], said: str, field: str | None) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        asked(path, **body)
    assert caught.value.http_status == 400
    if field:
        assert caught.value.field == field


def test_an_option_said_twice_is_refused_before_anybody_waits() -> None:
    with pytest.raises(BadRequest, match=r"options.num_ctx stands there twice"):
        parse("POST", "/api/chat", {}, b'{"options":{"num_ctx":1,"seed":2,"num_ctx":9}}')


def test_bodies_are_bounded_and_plain() -> None:
    with pytest.raises(BadRequest, match="has no body"):
        parse("POST", "/api/chat", {}, b" ")
    with pytest.raises(BadRequest, match="may be 33554432") as caught:
        parse("POST", "/api/chat", {}, b"{" + b" " * MAX_BODY_BYTES)
    assert caught.value.http_status == 413
    with pytest.raises(BadRequest, match="packed as zstd") as caught:
        parse("POST", "/api/chat", {b"content-encoding": b"zstd"}, b"x")
    assert caught.value.http_status == 415


def test_a_role_that_is_no_word_is_the_engine_s_to_refuse() -> None:
    assert asked("/api/chat", model="m", messages=[{"role": ["x"], "content": "y"}]).head == 0


def test_what_passes_as_bytes_need_not_be_json() -> None:
    made = parse("POST", "/v1/audio/transcriptions", {}, b"--boundary\r\n")
    assert (made.route, made.model, made.body) == (Route.PASS, "", b"--boundary\r\n")
    assert asked("/v1/messages", model="m", stream=True, max_tokens=5).is_stream


def test_members_say_where_the_head_ends() -> None:
    system = {"role": "system", "content": "Be kind."}
    made = asked(
        "/v1/chat/completions", model="m", messages=[system, {**system, "role": "developer"}, *HELLO]
    )
    assert made.head == 2
    assert list(made.tokens) == sorted(made.tokens)
    assert made.prompt_tokens == made.tokens[-1]
