"""Cases 6, 14, 15 and 17 of llm.md, and `<think>` tags: servers that speak OpenAI's dialect in their way."""

import asyncio
from contextlib import aclosing
from time import perf_counter

import pytest

from fluido.errors import EngineUnavailable
from fluido.llm import (
    Call,
    CallRejected,
    Delta,
    Dispatcher,
    EmptyAnswer,
    Kind,
    Message,
    ModelMissing,
    OpenAIEngine,
    Options,
    Presets,
    PromptTooLong,
    StreamBroken,
    Timings,
)
from tests.cases.engine_shapes import (
    VLLM,
    Body,
    Gemma,
    Hangs,
    KeepsOpen,
    LiteLLM,
    LMStudio,
    OpenAIShape,
    Refused,
    Renamed,
    SilentWindow,
    Strict,
    Thinking,
    running,
)
from tests.llm.asking import answer, ask

pytestmark = pytest.mark.anyio

POLICY = Presets({kind: Options(num_predict=256, temperature=0.2, repeat_penalty=1.1) for kind in Kind})


def history(turns: int, chars: int = 200) -> tuple[Message, ...]:
    messages = [Message("system", "s")]
    for turn in range(turns):
        messages += [Message("user", f"{turn}".ljust(chars, ".")), Message("assistant", "ok " * 10)]
    return (*messages, Message("user", "and now?"))


# nothing the caller did not say


async def test_nothing_that_the_caller_did_not_say_is_sent() -> None:
    async with running(OpenAIShape()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        for _ in range(25):
            await answer(dispatcher)
        asked = Options(max_tokens=3, top_k=7, repeat_penalty=1.2, more={"min_tokens": 1})
        await answer(dispatcher, ask(options=asked))
    for body in server.bodies[:25]:
        assert set(body) == {"messages", "stream", "stream_options", "model"}
    last = server.bodies[-1]
    assert last["max_tokens"] == 3
    assert (last["top_k"], last["repetition_penalty"], last["min_tokens"]) == (7, 1.2, 1)


async def test_a_learned_length_cuts_no_answer() -> None:
    """Case 19: after many short answers the bound is the one that the policy says."""
    async with (
        running(OpenAIShape()) as server,
        Dispatcher([OpenAIEngine(server.url)], presets=POLICY) as dispatcher,
    ):
        for _ in range(30):
            await answer(dispatcher)
    assert {body["max_tokens"] for body in server.bodies} == {256}


# thinking models


async def test_a_policys_bound_is_raised_as_soon_as_thoughts_are_seen() -> None:
    """Case 6: 256 tokens are thoughts; the answer is never a silent nothing."""
    async with (
        running(Thinking()) as server,
        Dispatcher([OpenAIEngine(server.url)], presets=POLICY) as dispatcher,
    ):
        with pytest.raises(EmptyAnswer, match="allow more") as caught:
            await answer(dispatcher)
        assert caught.value.thought_tokens == 256
        assert (await answer(dispatcher))[0] == "Santiago."
        assert dispatcher.stats().up == (True,)
    assert [body["max_tokens"] for body in server.bodies] == [256, 2048]


async def test_a_callers_own_bound_stays_and_the_empty_answer_is_an_error() -> None:
    async with running(Thinking()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        for _ in range(4):
            with pytest.raises(EmptyAnswer):
                await answer(dispatcher, ask(options=Options(num_predict=50)))
        assert (await answer(dispatcher))[0] == "Santiago.", "without a bound it may think"
        assert (await answer(dispatcher, ask(think=False)))[0] == "Santiago."
    assert [body.get("max_tokens") for body in server.bodies] == [50, 50, 50, 50, None, None]
    assert server.bodies[-1]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("tags", [True, False])
async def test_think_tags_are_told_apart_or_left(tags: bool) -> None:
    server = Thinking()
    server.thoughts, server.in_text = 3, True
    async with (
        running(server),
        Dispatcher([OpenAIEngine(server.url, think_tags=tags)]) as dispatcher,
        aclosing(dispatcher.stream(ask())) as stream,
    ):
        said = [item async for item in stream if isinstance(item, Delta)]
    text, thoughts = "".join(d.text for d in said), "".join(d.thinking for d in said)
    if tags:
        assert (text, thoughts) == ("Santiago.", "\nhm hm hm \n")
    else:
        assert (text, thoughts) == ("<think>\nhm hm hm \n</think>\n\nSantiago.", "")


# addresses, keys, names


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
async def test_an_address_may_end_as_anywhere_else(ending: str) -> None:
    async with (
        running(OpenAIShape()) as server,
        Dispatcher([OpenAIEngine(server.url.removeprefix("http://") + ending)]) as dispatcher,
    ):
        assert (await answer(dispatcher))[0]


async def test_a_wrong_path_is_told_with_what_to_do() -> None:
    async with running(OpenAIShape()) as server:
        engine = OpenAIEngine(server.url + "/api")
        await engine.open()
        with pytest.raises(EngineUnavailable, match="ends before /v1"):
            await engine.facts()
        await engine.close()


@pytest.mark.parametrize("way", ["argument", "address", "header"])
async def test_a_key_is_sent_and_never_shown(way: str) -> None:
    server = LiteLLM()
    async with running(server):
        host = server.url.removeprefix("http://")
        engine = {
            "argument": lambda: OpenAIEngine(server.url, api_key="sk-secret\n"),
            "address": lambda: OpenAIEngine(f"http://:sk-secret@{host}/v1"),
            "header": lambda: OpenAIEngine(server.url, headers={"Authorization": "Bearer sk-secret"}),
        }[way]()
        async with Dispatcher([engine]) as dispatcher:
            text, end = await answer(dispatcher)
            assert text == "w0 w1 w2 w3 w4 "
            assert "secret" not in f"{engine.name} {end} {dispatcher.stats()}"
            assert engine.name == server.url


async def test_without_a_key_the_sentence_says_what_is_missing() -> None:
    async with running(LiteLLM()) as server:
        engine = OpenAIEngine(server.url)
        await engine.open()
        with pytest.raises(EngineUnavailable, match=r"wants a key \(api_key=\)"):
            await engine.facts()
        await engine.close()


async def test_user_and_password_in_the_address_are_sent_and_not_shown() -> None:
    async with running(OpenAIShape()) as server:
        engine = OpenAIEngine(server.url.replace("//", "//me:s3%2Fcret@"), name="http://me:s3/cret@shown")
        async with Dispatcher([engine]) as dispatcher:
            await answer(dispatcher)
    assert server.headers[-1]["Authorization"] == "Basic bWU6czMvY3JldA=="
    assert engine.name == "http://shown"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "not an engine's address"),
        ("ftp://me:s3cret@h", "begins with http"),
        ("http://me:s3cret@h:99999", "no usable port"),
        ("http://me:s3/cret@h", "no usable port|not an engine"),
        ("http://h/?key=s3cret", "not an engine's address"),
        ("me:s3cret@", "not an engine's address"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secret(given: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        OpenAIEngine(given)
    assert "user" not in str(caught.value)
    if "?" not in given:
        assert "cret" not in str(caught.value)


def test_a_key_that_no_header_may_hold_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="header") as caught:
        OpenAIEngine("http://h", api_key="s3\ncret")
    assert "cret" not in str(caught.value)


# models


async def test_the_model_is_always_sent() -> None:
    async with running(VLLM()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        _, end = await answer(dispatcher)
        assert end.model == "org/model"
        with pytest.raises(ModelMissing) as caught:
            await answer(dispatcher, ask(model="org/modle"))
        assert caught.value.near == ("org/model",)
        assert (await answer(dispatcher))[0]
    assert server.bodies[0]["model"] == "org/model"


async def test_an_embedding_model_is_not_chosen_and_the_loaded_one_comes_first() -> None:
    """Case 14, LM Studio."""
    async with running(LMStudio()) as server:
        engine = OpenAIEngine(server.url)
        async with Dispatcher([engine]) as dispatcher:
            _, end = await answer(dispatcher)
            assert end.model == "gemma-3-4b"
            facts = dispatcher.stats().engines[0]
            assert facts is not None
            assert facts.context_tokens == 512


async def test_where_no_model_is_for_chat_that_is_said() -> None:
    server = OpenAIShape()
    server.models = ({"id": "bge-m3"}, {"id": "nomic-embed-text"})
    async with running(server):
        engine = OpenAIEngine(server.url)
        await engine.open()
        with pytest.raises(ModelMissing, match="no model for chat, only bge-m3"):
            await engine.facts()
        await engine.close()


# windows


@pytest.mark.parametrize("shape", [VLLM, LMStudio, SilentWindow])
async def test_a_conversation_goes_on_over_the_window(shape: type[OpenAIShape]) -> None:
    """Told, or learned from the first refusal: nobody but a message too long in itself is refused."""
    async with (
        running(shape()) as server,
        Dispatcher([OpenAIEngine(server.url)], presets=POLICY) as dispatcher,
    ):
        for turn in range(12):
            call = Call(history(turn), conversation="c")
            assert (await answer(dispatcher, call))[0]
        assert dispatcher.stats().up == (True,)
        assert dispatcher.stats().failed == 0
    refused = len(server.bodies) - 12
    assert refused <= (2 if shape is SilentWindow else 1)


async def test_a_server_that_hangs_at_what_it_does_not_know_is_used() -> None:
    async with running(Hangs()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        assert (await answer(dispatcher))[0]


async def test_the_window_may_be_said() -> None:
    async with (
        running(SilentWindow()) as server,
        Dispatcher([OpenAIEngine(server.url, window=512)]) as dispatcher,
    ):
        for turn in range(12):
            await answer(dispatcher, Call(history(turn), conversation="c"))
    assert len(server.bodies) == 12


async def test_a_message_too_long_in_itself_is_refused_with_both_numbers() -> None:
    for shape in (VLLM, SilentWindow):
        async with running(shape()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
            for _ in range(4):
                with pytest.raises(PromptTooLong) as caught:
                    await answer(dispatcher, ask("x" * 2600))
                assert caught.value.context_tokens == 512
                assert caught.value.prompt_tokens > 512
            assert dispatcher.stats().up == (True,)
            assert (await answer(dispatcher))[0]


async def test_a_bound_over_the_window_is_the_callers_and_named() -> None:
    async with running(VLLM()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        with pytest.raises(CallRejected, match="too large: 600") as caught:
            await answer(dispatcher, ask(options=Options(num_predict=600)))
        assert (caught.value.field, caught.value.status) == ("num_predict", 400)
        assert (await answer(dispatcher, ask(options=Options(num_predict=-1))))[0], "no bound is not -1 there"


async def test_a_policys_bound_that_does_not_fit_is_not_sent() -> None:
    async with running(VLLM()) as server:
        policy = Presets({kind: Options(num_predict=500) for kind in Kind})
        async with Dispatcher([OpenAIEngine(server.url)], presets=policy) as dispatcher:
            assert (await answer(dispatcher, ask("x" * 800)))[0]
    assert "max_tokens" not in server.bodies[-1]


@pytest.mark.parametrize("refusal", ["System role not supported", "Conversation roles must alternate"])
async def test_a_template_without_a_system_role_is_told_by_the_user(refusal: str) -> None:
    """Case 3, its other half: Gemma and the first Mistral refuse the system prompt itself."""
    async with running(Gemma()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        server.words = refusal
        talk = (Message("system", "Be brief."), Message("user", "a"))
        for _ in range(3):
            assert (await answer(dispatcher, Call(talk)))[0]
            talk = (*talk, Message("assistant", "b"), Message("user", "c"))
        roles = [[message["role"] for message in body["messages"]] for body in server.bodies]
        assert roles == [
            ["system", "user"],
            ["user"],
            ["user", "assistant", "user"],
            ["user", "assistant"] * 2 + ["user"],
        ]
        assert server.bodies[-1]["messages"][0]["content"] == "Be brief.\n\na"
        with pytest.raises(CallRejected, match="alternate") as caught:
            await answer(dispatcher, Call((Message("assistant", "a"), Message("user", "b"))))
        assert caught.value.status == 400
        assert dispatcher.stats().up == (True,)


# ends and errors


@pytest.mark.parametrize("shape", [LiteLLM, KeepsOpen])
async def test_a_whole_answer_is_whole(shape: type[OpenAIShape]) -> None:
    async with (
        running(shape()) as server,
        Dispatcher([OpenAIEngine(server.url, api_key="sk-secret")]) as dispatcher,
    ):
        began = perf_counter()
        text, end = await answer(dispatcher)
        assert (text, end.finish_reason) == ("w0 w1 w2 w3 w4 ", "stop")
        assert perf_counter() - began < 10


async def test_a_server_that_refuses_stream_options_is_asked_without_from_then_on() -> None:
    async with running(Strict()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        for _ in range(3):
            assert (await answer(dispatcher))[0]
        with pytest.raises(CallRejected, match=r"body\.top_k: Extra inputs"):
            await answer(dispatcher, ask(options=Options(top_k=3)))
    assert ["stream_options" in body for body in server.bodies] == [True, False, False, False, False]


async def test_a_bound_of_another_name_is_learned() -> None:
    async with running(Renamed()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        for _ in range(3):
            assert (await answer(dispatcher, ask(options=Options(num_predict=9))))[0]
    assert [body.get("max_completion_tokens") for body in server.bodies] == [None, 9, 9, 9]


async def test_an_error_before_the_first_word_is_the_calls_and_after_it_the_streams() -> None:
    class Fails(OpenAIShape):
        after = 0

        async def stream(self, request, body):
            from aiohttp import web  # noqa: PLC0415

            response = web.StreamResponse()
            await response.prepare(request)
            for n in range(self.after):
                await self.say(response, {"choices": [{"delta": {"content": f"w{n}"}}]})
            await self.say(response, {"object": "error", "message": "bad grammar", "code": 400})
            return response

    server = Fails()
    async with running(server):
        engine = OpenAIEngine(server.url)
        await engine.open()
        with pytest.raises(CallRejected, match="bad grammar") as caught:
            await _drained(engine)
        assert (caught.value.status, caught.value.said) == (400, "bad grammar")
        server.after = 2
        with pytest.raises(StreamBroken, match="bad grammar"):
            await _drained(engine)
        await engine.close()


async def _drained(engine: OpenAIEngine) -> Timings:
    async with aclosing(engine.stream(ask())) as stream:
        items = [item async for item in stream]
    assert isinstance(items[-1], Timings)
    await asyncio.sleep(0)
    return items[-1]


async def test_a_call_that_is_wrong_in_itself_teaches_nothing() -> None:
    """Refused with and without what may be at fault: the next call is sent as before."""

    class Picky(OpenAIShape):
        def check(self, body: Body) -> None:
            if body.get("temperature", 0) > 2:
                raise Refused(400, self.error("temperature must be at most 2"))

    async with running(Picky()) as server, Dispatcher([OpenAIEngine(server.url)]) as dispatcher:
        for _ in range(2):
            with pytest.raises(CallRejected, match="at most 2"):
                await answer(dispatcher, ask(options=Options(temperature=5)))
        await answer(dispatcher)
        with pytest.raises(CallRejected, match="at most 2"):
            await answer(dispatcher, ask(options=Options(temperature=5)))
    asked = ["stream_options" in body for body in server.bodies]
    assert asked == [True, False, True, False, True, True], "once it worked, nobody doubts it"
