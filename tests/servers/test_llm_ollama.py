"""The dispatcher in front of the real Ollama."""

import asyncio
import time
from contextlib import aclosing, suppress

import aiohttp
import psutil
import pytest

from bench.llm.ollama_stage import loads
from fluido.errors import EngineUnavailable
from fluido.llm import (
    Call,
    Delta,
    Dispatcher,
    Kind,
    Message,
    ModelMissing,
    OllamaEngine,
    Options,
    RunnerProfile,
    Timings,
    Wishes,
)

pytestmark = [pytest.mark.anyio, pytest.mark.ollama]

SYSTEM = Message("system", "You are Sentinel. " * 10)


def ask(*texts: str, options: Options | None = None, **more: object) -> Call:
    roles = ("user", "assistant")
    talk = tuple(Message(roles[i % 2], text) for i, text in enumerate(texts))
    return Call((SYSTEM, *talk), options=options or Options(num_predict=6), **more)


async def answer(dispatcher: Dispatcher, call: Call) -> tuple[str, Timings]:
    items = [item async for item in dispatcher.stream(call)]
    assert isinstance(items[-1], Timings)
    return "".join(item.text for item in items if isinstance(item, Delta)), items[-1]


@pytest.fixture
async def dispatcher(ollama_engine):
    # Other tests may have made models of their own: the first one that it lists need not be this one.
    async with Dispatcher([OllamaEngine(ollama_engine.url, model=ollama_engine.model.name)]) as opened:
        yield opened


async def test_a_reload_that_is_asked_for_on_purpose_is_counted(dispatcher, ollama_engine) -> None:
    """The witness of all claims about reloads: one line of Ollama's log for each model it loads."""
    await answer(dispatcher, ask("first"))
    before = loads(ollama_engine)
    assert before >= 1
    window = dispatcher.stations[0].facts.context_tokens
    async with aiohttp.ClientSession() as session:
        for wish, expected in ((window, 0), (window // 2, 1), (window // 2, 1), (window, 2)):
            body = {
                "model": ollama_engine.model.name,
                "messages": [{"role": "user", "content": "hello"}],
                "options": {"num_ctx": wish, "num_predict": 1},
                "stream": False,
            }
            async with session.post(f"{ollama_engine.url}/api/chat", json=body) as reply:
                assert (await reply.json())["done"] is True
            assert loads(ollama_engine) - before == expected, wish


async def test_every_kind_of_query_and_no_reload(dispatcher, ollama_engine) -> None:
    await answer(dispatcher, ask("first"))
    before = loads(ollama_engine)
    for number in range(3):
        for kind in Kind:
            wish = {"num_ctx": 512 * (number + 1), "num_batch": 64}
            _, end = await answer(dispatcher, ask(f"question {number}", kind=kind, runner=wish))
            assert end.load_s < 0.5
            assert any("num_batch=64 was not applied" in note for note in end.notes)
    assert loads(ollama_engine) == before
    assert dispatcher.stats().residency[0].unplanned_loads == 0


async def test_the_parts_add_up_to_the_whole(dispatcher) -> None:
    for number in range(3):
        _, end = await answer(dispatcher, ask(f"{number} what is this? " * 20))
        parts = end.queue_s + end.load_s + end.prefill_s + end.decode_s
        assert parts == pytest.approx(end.total_s, rel=0.05, abs=0.03)


async def test_the_second_turn_computes_only_what_is_new(dispatcher) -> None:
    """Ollama counts the tokens of a prompt that it had already, so its own times are all there is to see."""
    first_s, second_s = [], []
    for name in "abc":
        question = f"{name}: tell me something about the sea. " * 30
        text, first = await answer(dispatcher, ask(question, conversation=name))
        _, second = await answer(dispatcher, ask(question, text, "And the land?", conversation=name))
        first_s.append(first.prefill_s)
        second_s.append(second.prefill_s)
    # whatever else the machine does, it can only add
    assert min(second_s) < min(first_s) / 2


async def test_leaving_stops_the_generation(dispatcher, ollama_engine) -> None:
    call = ask("Go on for ever", options=Options(num_predict=1500))
    async with aclosing(dispatcher.stream(call)) as stream:
        assert isinstance(await anext(stream), Delta)
    started = time.perf_counter()
    _, end = await answer(dispatcher, ask("and now?"))
    assert end.queue_s < 1.0
    assert time.perf_counter() - started < 10


async def test_a_missing_model_is_said_in_ollamas_words(ollama_engine) -> None:
    engine = OllamaEngine(ollama_engine.url)
    await engine.open()
    with pytest.raises(ModelMissing, match="not found"):
        await engine.facts("nobody:1")
    await engine.close()


async def test_many_at_once_are_all_answered(dispatcher) -> None:
    calls = [ask(f"question {n}", key=str(n)) for n in range(12)]
    ends = await asyncio.gather(*(answer(dispatcher, call) for call in calls))
    assert all(end.output_tokens > 0 for _, end in ends)
    flow = dispatcher.stats().flows[0]
    assert (flow.waiting, flow.completed) == (0, 12)


async def test_the_rendered_prompt_of_the_next_turn_begins_with_this_one(ollama_engine) -> None:
    """Append-only is only worth something if the template keeps it so."""
    async with aiohttp.ClientSession() as session:

        async def rendered(*texts: str) -> str:
            roles = ("user", "assistant")
            messages = [{"role": "system", "content": SYSTEM.content}]
            messages += [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
            body = {
                "model": ollama_engine.model.name,
                "messages": messages,
                "stream": False,
                "_debug_render_only": True,
            }
            async with session.post(f"{ollama_engine.url}/api/chat", json=body) as reply:
                return (await reply.json())["_debug_info"]["rendered_template"]

        one = await rendered("first question")
        two = await rendered("first question", "an answer", "second question")
    assert two.startswith(one)


async def test_a_model_that_nobody_has_is_told_with_names_that_come_near(dispatcher) -> None:
    with pytest.raises(ModelMissing, match="near names: synthetic:1") as caught:
        await answer(dispatcher, ask("hello", model="synthetic:2"))
    assert caught.value.near == ("synthetic:1",)


async def test_a_runner_that_died_is_replaced_and_the_next_call_answered(dispatcher, ollama_engine) -> None:
    await answer(dispatcher, ask("first"))
    for child in psutil.Process(ollama_engine.child.pid).children(recursive=True):
        if "runner" in child.cmdline():
            child.kill()
    with suppress(EngineUnavailable):
        await answer(dispatcher, ask("to the dead"))
    async with asyncio.timeout(30):
        while not dispatcher.stations[0].health.up:  # noqa: ASYNC110  (recovery has no other door)
            await asyncio.sleep(0.05)
    _, end = await answer(dispatcher, ask("and now?"))
    assert end.output_tokens > 0


async def test_a_planned_reload_is_one_load_that_everybody_finds(ollama_engine) -> None:
    profile = RunnerProfile(num_ctx=512, num_thread=1)
    engine = OllamaEngine(ollama_engine.url, profile=profile, wishes=Wishes.PLANNED, most_context_tokens=2048)
    async with Dispatcher([engine]) as dispatcher:
        await answer(dispatcher, ask("first"))
        before = loads(ollama_engine)
        long = ask("many words of the sea " * 150, trim=False, runner={"num_ctx": 1800})
        others = [ask(f"question {n}", key=str(n)) for n in range(6)]
        ends = await asyncio.gather(*(answer(dispatcher, call) for call in (others[0], long, *others[1:])))
        assert loads(ollama_engine) == before + 1
        assert dispatcher.stations[0].facts.context_tokens == 2048
        assert ends[1][1].prompt_tokens > 512
        await answer(dispatcher, ask("more", runner={"num_ctx": 8192}))
        assert loads(ollama_engine) == before + 1
        assert dispatcher.stats().residency[0].unplanned_loads == 0
