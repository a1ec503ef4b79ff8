"""What a caller is told when llama.cpp's real server dies, hangs or is asked too much."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import aclosing, suppress

import pytest

import embedded
from embedded.model_server import EngineOptions
from embedded.synthetic import synthetic
from fluido.llm import (
    Call,
    Delta,
    Dispatcher,
    Message,
    OpenAIEngine,
    Options,
    Patience,
    PromptTooLong,
    StreamBroken,
    Timings,
)

pytestmark = pytest.mark.anyio

EXTRA = {"ignore_eos": True}
IMPATIENT = Patience(first_token_floor_s=2.0, gap_s=1.0)  # a busy machine takes its time


def ask(text: str, tokens: int = 4, **more: object) -> Call:
    return Call((Message("user", text),), options=Options(num_predict=tokens, seed=1), **more)


async def answer(dispatcher: Dispatcher, call: Call) -> Timings:
    items = [item async for item in dispatcher.stream(call)]
    assert isinstance(items[-1], Timings)
    return items[-1]


@pytest.fixture
def frail(ground_folder) -> Iterator[embedded.Engine]:
    """An engine that a test may stop and kill."""
    server = embedded.Engine(
        ground_folder, synthetic(), EngineOptions(slots=2, prompt_cache_mib=0, threads=1), folder="frail"
    )
    server.start()
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):  # the guardian may tell of a death later than the system
            if server.running:
                os.kill(server.child.pid, signal.SIGCONT)
        server.stop()


async def is_asked(dispatcher: Dispatcher, at: int = 0) -> None:
    async with asyncio.timeout(5):
        while not dispatcher.stations[at].inflight:  # noqa: ASYNC110  (the seat is what is waited for)
            await asyncio.sleep(0.005)


async def test_death_before_the_first_token_moves_the_call(frail, synthetic_engine) -> None:
    engines = [OpenAIEngine(frail.url, extra=EXTRA), OpenAIEngine(synthetic_engine.url, extra=EXTRA)]
    async with Dispatcher(engines) as dispatcher:
        os.kill(frail.child.pid, signal.SIGSTOP)
        running = asyncio.create_task(answer(dispatcher, ask("Who is there?")))
        await is_asked(dispatcher)
        os.kill(frail.child.pid, signal.SIGKILL)
        end = await asyncio.wait_for(running, 10)
        assert (end.engine, end.retries, end.output_tokens) == (synthetic_engine.url, 1, 4)
        assert not dispatcher.stations[0].health.up


async def test_silence_before_the_first_token_moves_the_call(frail, synthetic_engine) -> None:
    engines = [OpenAIEngine(frail.url, extra=EXTRA), OpenAIEngine(synthetic_engine.url, extra=EXTRA)]
    async with Dispatcher(engines, patience=IMPATIENT) as dispatcher:
        os.kill(frail.child.pid, signal.SIGSTOP)
        end = await asyncio.wait_for(answer(dispatcher, ask("Who is there?")), 10)
        assert (end.engine, end.retries) == (synthetic_engine.url, 1)


async def test_silence_in_the_middle_is_said_and_the_engine_used_again(frail) -> None:
    async with Dispatcher([OpenAIEngine(frail.url, extra=EXTRA)], patience=IMPATIENT) as dispatcher:
        stream = dispatcher.stream(ask("Go on for ever", 1500))
        async with aclosing(stream):
            assert isinstance(await anext(stream), Delta)
            os.kill(frail.child.pid, signal.SIGSTOP)
            began_s = time.perf_counter()
            with pytest.raises(StreamBroken, match="silent"):
                async for _ in stream:
                    pass
            assert time.perf_counter() - began_s < 12.0  # the gap, and two questions that nobody answers
        os.kill(frail.child.pid, signal.SIGCONT)
        assert (await answer(dispatcher, ask("And now?"))).output_tokens == 4


async def test_a_history_that_may_not_be_cut_is_refused_with_both_numbers(synthetic_engine) -> None:
    async with Dispatcher([OpenAIEngine(synthetic_engine.url, extra=EXTRA)]) as dispatcher:
        talk = tuple(Message(("user", "assistant")[n % 2], "many words " * 60) for n in range(41))
        with pytest.raises(PromptTooLong) as caught:
            await answer(dispatcher, Call(talk, trim=False, conversation="long"))
        assert caught.value.prompt_tokens > caught.value.context_tokens > 0
        assert dispatcher.stats().flows[0].admitted == 0
        end = await answer(dispatcher, Call(talk, conversation="long", options=Options(num_predict=4)))
        assert end.dropped_messages > 0


async def test_two_hundred_clients_at_a_cold_start_are_all_served(frail) -> None:
    async with Dispatcher([OpenAIEngine(frail.url, extra=EXTRA)]) as dispatcher:
        until_s = time.perf_counter() + 60
        calls = [ask(f"client {n}", 1, key=str(n), deadline_s=until_s) for n in range(200)]
        ends = await asyncio.gather(*(answer(dispatcher, call) for call in calls))
        assert len(ends) == 200
        assert dispatcher.stats().flows[0].refused == 0
