"""Cases 6, 15, 19 and 20 of llm.md as Sentinel's policy: bounds, thoughts, answers without a word, keys."""

from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest

from app.api.bodies import ChatAnswer
from app.core.ports import Reply
from app.core.settings import Settings
from app.services.sentinel_fluido_v2 import PRESETS, SentinelFluidoV2
from app.services.transcript import Turn, bounded
from fluido.llm import Delta, EmptyAnswer, Kind, Timings
from tests.cases.engine_shapes import Body, LiteLLM, OllamaShape, OpenAIShape, Thinking, running

pytestmark = pytest.mark.anyio


class Mute(OpenAIShape):
    """A model that ends at once."""

    def answer(self, body: Body) -> tuple[list[Body], str]:
        return [{"content": ""}], "stop"


def sentinel(server: OpenAIShape, **more: Any) -> SentinelFluidoV2:
    return SentinelFluidoV2(settings=Settings(ollama_url=None, openai_url=server.url, **more))


async def said(events: AsyncGenerator[Delta | Timings, None]) -> tuple[str, Timings | None]:
    text, end = "", None
    async for event in events:
        text += event.text if isinstance(event, Delta) else ""
        end = event if isinstance(event, Timings) else None
    return text, end


class SplitSlots(OpenAIShape):
    """A llama.cpp whose slots have memory of their own, which nothing that it says shows."""

    def routes(self) -> dict[str, Any]:
        props = {"total_slots": 4, "default_generation_settings": {"n_ctx": 2048}, "model_alias": "tiny"}
        return {"/props": lambda: props, "/slots": list, "/health": lambda: {"status": "ok"}}


@pytest.mark.parametrize(("tokens", "together"), [(0, False), (8192, True)])
async def test_what_all_slots_hold_may_be_said(tokens: int, together: bool) -> None:
    """Two long prompts at once: one window is all there is, until more was said or seen."""
    async with running(SplitSlots()) as server:
        service = sentinel(server, engine_kv_tokens=tokens)
        await service.open()
        assert service.dispatcher.stations[0].slots.purse.takes(1500, 1500) is together
        await service.close()


async def test_a_thinking_model_answers_the_first_question_too() -> None:
    """256 tokens go into thoughts: asked once more with a larger bound, and rightly from then on."""
    async with running(Thinking()) as server:
        service = sentinel(server)
        for question in ("What is the capital of Chile?", "And of Peru?", "And of Cuba?"):
            text, end = await said(service.stream((), question, kind=Kind.SHORT))
            assert text == "Santiago."
            assert end is not None
            assert end.finish_reason == "stop"
        await service.close()
    assert [body["max_tokens"] for body in server.bodies] == [256, 2048, 2048, 2048]


async def test_a_callers_bound_is_not_raised_and_an_empty_answer_is_an_error() -> None:
    async with running(Thinking()) as server:
        service = sentinel(server)
        with pytest.raises(EmptyAnswer, match="thoughts"):
            await said(service.stream((), "q", max_output_tokens=20))
        await service.close()
    assert [body["max_tokens"] for body in server.bodies] == [20]


async def test_an_answer_without_a_word_is_no_answer() -> None:
    async with running(Mute()) as server:
        service = sentinel(server)
        with pytest.raises(EmptyAnswer, match="without a word"):
            await said(service.stream((), "q"))
        with pytest.raises(EmptyAnswer):
            await service.responder_simple("ana", "q")
        await service.close()


async def test_what_was_not_answered_is_not_sent_as_an_empty_turn() -> None:
    async with running(OpenAIShape()) as server:
        service = sentinel(server)
        before = (Turn("user", "a"), Turn("assistant", ""), Turn("user", "b"), Turn("assistant", "c"))
        await said(service.stream(before, "d"))
        await service.close()
    roles = [message["role"] for message in server.bodies[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert all(message["content"] for message in server.bodies[-1]["messages"])


async def test_the_policy_stands_however_short_the_answers_were() -> None:
    async with running(OpenAIShape()) as server:
        service = sentinel(server)
        for _ in range(25):
            await said(service.stream((), "What is it?", kind=Kind.SHORT))
        await service.close()
    assert {body["max_tokens"] for body in server.bodies} == {PRESETS[Kind.SHORT].num_predict}


@pytest.mark.parametrize(
    ("reason", "cut"), [("stop", False), ("length", True), ("time", True), ("cancelled", False)]
)
def test_an_answer_that_was_cut_says_so(reason: str, cut: bool) -> None:
    reply = Reply("text", uuid4(), "short", "m", 1.0, 2.0, False, 3, finish_reason=reason)
    assert ChatAnswer.of(reply).cut is cut


async def test_keys_and_headers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 15, through the settings; neither the flow's name nor the settings show them."""
    async with running(LiteLLM()) as server:
        monkeypatch.setenv("OPENAI_URL", server.url.replace("//", "//me:s3cret@") + "/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        monkeypatch.setenv("SENTINEL_ENGINE_HEADERS", '{"X-Team": "blue-s3cret"}')
        monkeypatch.delenv("OLLAMA_URL", raising=False)
        settings = Settings()
        service = SentinelFluidoV2(settings=settings)
        text, _ = await said(service.stream((), "q"))
        assert text
        assert server.headers[-1]["X-Team"] == "blue-s3cret"
        names = [station.stats().name for station in service.dispatcher.stations]
        assert names == [server.url]
        assert "sk-secret" not in f"{settings!r} {await service.check()}"
        assert "s3cret" not in f"{settings!r}"
        await service.close()


async def test_a_key_of_its_own_stands_in_an_engines_address() -> None:
    one, two = LiteLLM(), LiteLLM()
    two.key = "another"
    async with running(one), running(two):
        urls = f"{one.url.replace('//', '//:sk-secret@')}, {two.url.replace('//', '//:another@')}"
        service = SentinelFluidoV2(settings=Settings(ollama_url=None, openai_url=urls))
        await service.open()
        assert service.dispatcher.stats().up == (True, True)
        await service.close()


async def test_both_kinds_of_engines_are_used_where_both_are_named() -> None:
    async with running(OpenAIShape()) as one, running(OllamaShape()) as two:
        service = SentinelFluidoV2(settings=Settings(ollama_url=two.url, openai_url=one.url))
        await service.open()
        kinds = [facts.kind for facts in service.dispatcher.stats().engines if facts]
        assert kinds == ["openai", "ollama"]
        await service.close()


@pytest.mark.parametrize(("setting", "sent"), [(None, None), ("-1", -1), ("2h", "2h")])
async def test_keep_alive_is_a_setting(setting: str | None, sent: object) -> None:
    async with running(OllamaShape()) as server:
        settings = Settings(ollama_url=server.url, openai_url=None, keep_alive=setting)
        service = SentinelFluidoV2(settings=settings)
        await said(service.stream((), "q"))
        await service.close()
    assert server.bodies[-1].get("keep_alive") == sent


def test_a_keep_alive_that_ollama_would_refuse_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="keep_alive is a number of seconds"):
        Settings(keep_alive="soon")


def test_a_history_that_was_cut_begins_with_a_question() -> None:
    turns = [Turn(("user", "assistant")[n % 2], f"{n}" * 10) for n in range(30)]
    for most in range(4, 20):
        kept = bounded(turns, most, 10_000)
        assert kept[0].role == "user"
        assert kept[-1] == turns[-1]
