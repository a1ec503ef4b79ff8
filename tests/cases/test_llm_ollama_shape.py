"""Cases 8, 13, 14, 15, 17 and 20 of llm.md: an Ollama as administrators run it, scripted where it must be."""

from collections.abc import Callable
from contextlib import aclosing

import pytest

from fluido.errors import EngineUnavailable
from fluido.llm import Call, Delta, Dispatcher, Message, ModelMissing, OllamaEngine, Options, PromptTooLong
from fluido.llm._profile import canonical
from fluido.llm.engines._modelfile import keep_alive_of, seconds_of, seconds_until
from tests.cases.engine_shapes import OllamaShape, running
from tests.llm.asking import answer, ask

pytestmark = pytest.mark.anyio


async def test_two_names_of_one_model_are_one_load() -> None:
    """Case 13."""
    server = OllamaShape("smol:latest")
    server.loaded = ("smol:latest", 2048)
    async with running(server), Dispatcher([OllamaEngine(server.url, model="smol")]) as dispatcher:
        for name in ("smol", "smol:latest", "library/smol", "", "registry.ollama.ai/library/smol:latest"):
            _, end = await answer(dispatcher, ask(model=name))
            assert end.model == "smol:latest"
    assert server.loads == 0
    assert {(body["model"], body["options"]["num_ctx"]) for body in server.bodies} == {("smol:latest", 2048)}


async def test_capitals_make_no_other_model() -> None:
    server = OllamaShape("hf.co/Org/Tiny-GGUF:Q4_K_M")
    server.loaded = ("hf.co/Org/Tiny-GGUF:Q4_K_M", 2048)
    async with running(server):
        engine = OllamaEngine(server.url, model="hf.co/Org/Tiny-GGUF:Q4_K_M")
        async with Dispatcher([engine]) as dispatcher:
            assert await engine.has("HF.co/org/tiny-gguf:q4_k_m")
            await answer(dispatcher, ask(model="hf.co/Org/Tiny-GGUF:q4_k_m"))
    spoken = [body for body in server.bodies if body["messages"]]
    assert [body["options"]["num_ctx"] for body in spoken] == [2048]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("m", "m:latest"),
        ("m:8b", "m:8b"),
        ("hf.co/Org/Model-GGUF:Q4_K_M", "hf.co/Org/Model-GGUF:Q4_K_M"),
        ("host:5000/org/m", "host:5000/org/m:latest"),
        ("", ""),
    ],
)
def test_the_one_name_of_a_model(given: str, name: str) -> None:
    assert canonical(given) == name == canonical(name)


async def test_a_model_for_vectors_is_never_chosen() -> None:
    """Case 14: `ollama pull nomic-embed-text` puts it first."""
    server = OllamaShape("nomic-embed-text:latest", "llama3:latest", embedding=("nomic-embed-text:latest",))
    async with running(server), Dispatcher([OllamaEngine(server.url)]) as dispatcher:
        _, end = await answer(dispatcher)
        assert end.model == "llama3:latest"


async def test_an_ollama_without_a_model_for_chat_says_so() -> None:
    server = OllamaShape("nomic-embed-text:latest", embedding=("nomic-embed-text:latest",))
    async with running(server):
        engine = OllamaEngine(server.url)
        await engine.open()
        with pytest.raises(ModelMissing, match="no model for chat, only nomic-embed-text"):
            await engine.facts()
        await engine.close()


@pytest.mark.parametrize(
    ("given", "sent"),
    [(None, None), ("30m", "30m"), (-1, -1), ("-1", -1), ("600", 600), (0, 0), (1.5, 1.5)],
)
async def test_keep_alive_is_sent_only_when_it_is_said(given: object, sent: object) -> None:
    """Case 20: without a word of ours the administrator's stays."""
    async with (
        running(OllamaShape()) as server,
        Dispatcher([OllamaEngine(server.url, keep_alive=given)]) as dispatcher,
    ):
        await answer(dispatcher)
    spoken = [body for body in server.bodies if body["messages"]]
    assert [body.get("keep_alive") for body in spoken] == [sent]


async def test_keep_alive_0_unloads_after_an_answer_and_not_before_it() -> None:
    async with (
        running(OllamaShape()) as server,
        Dispatcher([OllamaEngine(server.url, keep_alive=0)]) as dispatcher,
    ):
        for _ in range(3):
            await answer(dispatcher)
    assert server.loads == 3
    assert not any(body.get("keep_alive") == 0 for body in server.bodies if not body["messages"])


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("-1", float("inf")),
        ("-5m", float("inf")),
        (-1, float("inf")),
        (60, 60),
    ],
)
def test_spans_of_time(given: str | int, seconds: float) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["soon", "", "5 minutes", "1d"])
def test_a_span_that_ollama_would_refuse_in_every_call_is_refused_at_once(given: str) -> None:
    with pytest.raises(ValueError, match="keep_alive is"):
        keep_alive_of(given)


def test_how_long_a_model_stays() -> None:
    assert seconds_until("2318-10-01T12:00:00.123456789-03:00") > 1e9
    assert seconds_until("2001-01-01T00:00:00Z") == 0
    assert seconds_until("never") == 0


async def test_the_window_is_not_guessed_and_learned_from_the_refusal() -> None:
    """Case 8 (a), (b): OLLAMA_CONTEXT_LENGTH says 512, and Ollama says so nowhere but in /api/ps."""
    async with (
        running(OllamaShape(window=512)) as server,
        Dispatcher([OllamaEngine(server.url)]) as dispatcher,
    ):
        history = [Message("system", "You are brief.")]
        for turn in range(8):
            history.append(Message("user", f"{turn}: " + "The quick brown fox jumps. " * 17))
            options = Options(num_predict=4)
            call = Call(tuple(history), conversation="c", options=options)
            text, _ = await answer(dispatcher, call)
            history.append(Message("assistant", text))
        assert dispatcher.stats().failed == 0
    asked = [body for body in server.bodies if body["messages"]]
    assert len(asked) <= 8 + 1, "at most one turn was refused and asked again"


async def test_a_message_over_the_window_is_refused_by_name() -> None:
    async with (
        running(OllamaShape(window=512)) as server,
        Dispatcher([OllamaEngine(server.url)]) as dispatcher,
    ):
        with pytest.raises(PromptTooLong) as caught:
            await answer(dispatcher, ask("x" * 2400))
        assert caught.value.context_tokens == 512
        assert (await answer(dispatcher))[0] == "ok"


@pytest.mark.parametrize("ending", ["", "/", "/api", "/api/chat", "/v1"])
async def test_an_address_may_end_as_anywhere_else(ending: str) -> None:
    async with (
        running(OllamaShape()) as server,
        Dispatcher([OllamaEngine(server.url.removeprefix("http://") + ending)]) as dispatcher,
    ):
        assert (await answer(dispatcher))[0] == "ok"


WAYS: dict[str, Callable[[str], OllamaEngine]] = {
    "argument": lambda url: OllamaEngine(url, api_key="k"),
    "address": lambda url: OllamaEngine(url.replace("//", "//:k@")),
    "header": lambda url: OllamaEngine(url, headers={"Authorization": "Bearer k"}),
}


@pytest.mark.parametrize("way", sorted(WAYS))
async def test_a_key_is_sent(way: str) -> None:
    """Case 15."""
    server = OllamaShape()
    server.key = "k"
    async with running(server):
        engine = OllamaEngine(server.url)
        await engine.open()
        with pytest.raises(EngineUnavailable, match="wants a key"):
            await engine.facts()
        await engine.close()
        async with Dispatcher([WAYS[way](server.url)]) as dispatcher:
            assert (await answer(dispatcher))[0] == "ok"
            assert dispatcher.stations[0].name == server.url


async def test_extra_is_sent_with_every_call_and_runner_options_have_their_place() -> None:
    extra = {"options": {"mirostat": 2}, "shift": False}
    async with (
        running(OllamaShape()) as server,
        Dispatcher([OllamaEngine(server.url, extra=extra)]) as dispatcher,
    ):
        await answer(dispatcher, ask(options=Options(temperature=0.5, more={"repeat_last_n": 32})))
    last = server.bodies[-1]
    assert last["options"] == {"mirostat": 2, "repeat_last_n": 32, "temperature": 0.5}
    assert last["shift"] is False
    with pytest.raises(ValueError, match=r"profile=RunnerProfile\(num_ctx"):
        OllamaEngine(extra={"options": {"num_ctx": 512}})


async def test_nothing_that_the_caller_did_not_say_is_sent() -> None:
    async with running(OllamaShape()) as server, Dispatcher([OllamaEngine(server.url)]) as dispatcher:
        await answer(dispatcher)
    assert set(server.bodies[-1]) == {"model", "messages", "stream", "truncate", "options"}
    assert server.bodies[-1]["options"] == {}


async def test_think_tags_are_told_apart() -> None:
    server = OllamaShape()
    server.think_in_text = True
    async with (
        running(server),
        Dispatcher([OllamaEngine(server.url)]) as dispatcher,
        aclosing(dispatcher.stream(ask())) as stream,
    ):
        said = [item async for item in stream if isinstance(item, Delta)]
    assert ("".join(d.text for d in said), "".join(d.thinking for d in said)) == ("ok", "hm")


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("json", "json"),
        ({"type": "json_object"}, "json"),
        (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
            {"type": "object"},
        ),
        ({"type": "object"}, {"type": "object"}),
    ],
)
async def test_a_format_in_openais_words(asked: object, sent: object) -> None:
    async with running(OllamaShape()) as server, Dispatcher([OllamaEngine(server.url)]) as dispatcher:
        await answer(dispatcher, ask(response_format=asked))
    assert server.bodies[-1]["format"] == sent
