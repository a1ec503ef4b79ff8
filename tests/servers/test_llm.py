"""The dispatcher in front of llama.cpp's real server, with random weights."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import aclosing

import aiohttp
import pytest

import embedded
from embedded.model_server import EngineOptions
from embedded.synthetic import synthetic
from fluido.errors import EngineUnavailable
from fluido.llm import (
    Call,
    CallRejected,
    Delta,
    Dispatcher,
    Message,
    OpenAIEngine,
    Options,
    PromptTooLong,
    StreamBroken,
    Timings,
)

pytestmark = pytest.mark.anyio

SYSTEM = Message("system", "You are Sentinel. " * 10)
LONG = Options(num_predict=2000, seed=1)
EXTRA = {"ignore_eos": True}


def ask(*texts: str, options: Options | None = None, **more: object) -> Call:
    roles = ("user", "assistant")
    talk = tuple(Message(roles[i % 2], text) for i, text in enumerate(texts))
    return Call((SYSTEM, *talk), options=options or Options(num_predict=8, seed=1), **more)


async def answer(dispatcher: Dispatcher, call: Call) -> tuple[str, Timings]:
    text, end = "", None
    async for item in dispatcher.stream(call):
        if isinstance(item, Timings):
            end = item
        else:
            text += item.text
    assert end is not None
    return text, end


@pytest.fixture
async def dispatcher(synthetic_engine):
    async with Dispatcher([OpenAIEngine(synthetic_engine.url, extra=EXTRA)]) as opened:
        yield opened


@pytest.fixture
def own_engine(ground_folder) -> Iterator[embedded.Engine]:
    """One that a test may kill."""
    server = embedded.Engine(
        ground_folder, synthetic(), EngineOptions(slots=2, prompt_cache_mib=0, threads=1), folder="killed"
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


def started_again(server: embedded.Engine) -> None:
    while server.running:
        time.sleep(0.01)
    server.start()


async def processing(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/slots") as reply:
        return sum(slot["is_processing"] for slot in await reply.json())


async def test_the_second_turn_computes_only_what_is_new(dispatcher) -> None:
    question = "Tell me something about the sea. " * 10
    text, first = await answer(dispatcher, ask(question, conversation="a"))
    _, second = await answer(dispatcher, ask(question, text, "And the land?", conversation="a"))
    assert first.output_tokens == second.output_tokens == 8
    assert second.prompt_tokens - second.cached_tokens < (first.prompt_tokens - first.cached_tokens) / 2
    _, third = await answer(
        dispatcher, ask(question, text, "And the land?", "It is dry.", "And the air?", conversation="a")
    )
    assert third.slot is not None, "once it is known which slot holds it, that one is named"


async def test_the_parts_add_up_to_the_whole(dispatcher) -> None:
    """What is in none of them is the way there and back: next to nothing, but for a machine that is busy."""
    shares = []
    for number in range(5):
        _, end = await answer(dispatcher, ask(f"{number} what is this? " * 20))
        parts = end.queue_s + end.load_s + end.prefill_s + end.decode_s
        assert parts <= end.total_s + 0.005
        assert end.ttft_s <= end.total_s
        shares.append((end.total_s - parts) / max(end.total_s, 0.1))
    assert min(shares) < 0.05


async def test_conversations_with_one_system_prompt_keep_their_slots(own_engine) -> None:
    async with Dispatcher([OpenAIEngine(own_engine.url, extra=EXTRA)]) as dispatcher:
        history = {name: [f"{name} asks. " * 20] for name in "ab"}
        for turn in range(3):
            for name, texts in history.items():
                text, end = await answer(dispatcher, ask(*texts, conversation=name))
                texts += [text, f"{name} asks again {turn}"]
                if turn:
                    assert end.cached_tokens > 0.7 * end.prompt_tokens


async def freed_after_s(dispatcher: Dispatcher, url: str) -> float:
    async with aclosing(dispatcher.stream(ask("Go on for ever", options=LONG))) as stream:
        assert isinstance(await anext(stream), Delta)
        assert await processing(url) == 1
    started = time.perf_counter()
    while await processing(url):
        assert time.perf_counter() - started < 5
    return time.perf_counter() - started


async def test_leaving_frees_the_slot_within_a_tenth_of_a_second(dispatcher, synthetic_engine) -> None:
    """The best of ten: the machine may be busy with something else."""
    for _ in range(10):
        if await freed_after_s(dispatcher, synthetic_engine.url) < 0.1:
            return
    pytest.fail("ten times it took longer")


async def test_who_left_in_the_prefill_is_a_ghost_while_the_server_computes_on(own_engine) -> None:
    async with Dispatcher([OpenAIEngine(own_engine.url, extra=EXTRA)], slots=1) as dispatcher:
        leaving = asyncio.create_task(answer(dispatcher, ask("tells of the sea " * 220)))
        async with asyncio.timeout(10):
            while not await processing(own_engine.url):
                pass
        leaving.cancel()
        await asyncio.wait({leaving})
        assert dispatcher.stats().residency[0].ghosts == 1
        assert dispatcher.stats().flows[0].inflight == 1
        _, after = await answer(dispatcher, ask("and now?"))
        assert after.output_tokens == 8
        assert dispatcher.stats().residency[0].ghosts == 0, (
            "the one seat was the ghost's until it was through"
        )


async def test_a_wrong_prompt_is_told_with_both_numbers(dispatcher) -> None:
    huge = "many words " * 5000
    with pytest.raises(PromptTooLong) as caught:
        await answer(dispatcher, ask(huge))
    assert caught.value.prompt_tokens > caught.value.context_tokens > 0
    with pytest.raises(CallRejected):
        await answer(dispatcher, Call(()))


async def test_an_engine_killed_in_the_middle_is_told_and_found_again(own_engine) -> None:
    async with Dispatcher([OpenAIEngine(own_engine.url, extra=EXTRA)]) as dispatcher:
        stream = dispatcher.stream(ask("Go on for ever", options=LONG))
        assert isinstance(await anext(stream), Delta)
        os.kill(own_engine.child.pid, signal.SIGKILL)
        with pytest.raises((StreamBroken, EngineUnavailable)):
            async for _ in stream:
                pass
        started = time.perf_counter()
        with pytest.raises(EngineUnavailable):
            await answer(dispatcher, ask("anybody there?"))
        assert time.perf_counter() - started < 5.0
        await asyncio.to_thread(started_again, own_engine)
        await asyncio.wait_for(dispatcher.stations[0].health._recovery, 5)
        assert (await answer(dispatcher, ask("and now?")))[1].output_tokens == 8


async def test_many_at_once_are_all_answered(dispatcher) -> None:
    ends = await asyncio.gather(*(answer(dispatcher, ask(f"question {n}", key=str(n))) for n in range(30)))
    assert {end.output_tokens for _, end in ends} == {8}
    flow = dispatcher.stats().flows[0]
    assert (flow.inflight, flow.waiting, flow.completed) == (0, 0, 30)
