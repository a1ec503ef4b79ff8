import asyncio
from contextlib import aclosing

import pytest

from fluido.errors import Closed
from fluido.laws._fixed import Fixed
from fluido.llm import (
    Call,
    Delta,
    Dispatcher,
    Kind,
    Options,
)
from tests.llm.asking import answer, ask, ticks

pytestmark = pytest.mark.anyio


async def test_an_answer_and_its_timings(engine) -> None:
    async with Dispatcher([engine()]) as dispatcher:
        text, end = await answer(dispatcher, ask("What is the capital of Chile?"))
    assert text == "ab"
    assert end.kind is Kind.SHORT
    assert end.engine == "scripted"
    assert end.total_s > 0
    assert dispatcher.stats().answered == 1


async def test_never_more_in_flight_than_the_slots(engine) -> None:
    scripted = engine(slots=2)
    scripted.go.clear()
    async with Dispatcher([scripted], law=lambda facts: Fixed(facts.slots)) as dispatcher:
        tasks = [asyncio.create_task(answer(dispatcher)) for _ in range(10)]
        await ticks()
        assert scripted.inflight == 2
        assert dispatcher.stats().flows[0].waiting == 8
        scripted.go.set()
        await asyncio.gather(*tasks)
    assert scripted.peak == 2
    assert scripted.inflight == 0


async def test_a_call_cancelled_in_the_queue_never_reaches_the_engine(engine) -> None:
    scripted = engine()
    scripted.go.clear()
    async with Dispatcher([scripted]) as dispatcher:
        first, second = (asyncio.create_task(answer(dispatcher)) for _ in range(2))
        await ticks()
        second.cancel()
        await asyncio.wait({second})
        scripted.go.set()
        await first
        assert scripted.started == 1
        assert dispatcher.stats().flows[0].cancelled == 1
        assert dispatcher.stats().live == 0


async def test_leaving_a_stream_frees_the_seat_at_once(engine) -> None:
    scripted = engine()
    held = asyncio.Event()

    async def endless(_: Call):
        yield Delta("a")
        await held.wait()

    scripted.script = endless
    async with Dispatcher([scripted]) as dispatcher:
        async with aclosing(dispatcher.stream(ask())) as stream:
            await anext(stream)
        assert scripted.inflight == 0
        scripted.script = None
        assert (await answer(dispatcher))[0] == "ab"


@pytest.mark.parametrize("moment", range(12))
async def test_cancellation_at_any_moment_leaks_nothing(engine, moment: int) -> None:
    scripted = engine()
    async with Dispatcher([scripted]) as dispatcher:
        tasks = [asyncio.create_task(answer(dispatcher)) for _ in range(3)]
        await ticks(moment)
        for task in tasks[:2]:
            task.cancel()
        await asyncio.wait(tasks)
        assert tasks[2].result()[0] == "ab"
        assert scripted.inflight == 0
        flow = dispatcher.stats().flows[0]
        assert (flow.inflight, flow.waiting) == (0, 0)
        assert (await answer(dispatcher))[0] == "ab"


async def test_what_the_caller_set_is_sent_as_set(engine) -> None:
    scripted = engine()
    options = Options(num_predict=3, temperature=0.0, stop=("x",))
    async with Dispatcher([scripted]) as dispatcher:
        await answer(dispatcher, ask(options=options))
    sent = scripted.calls[0].options
    assert (sent.num_predict, sent.temperature, sent.stop) == (3, 0.0, ("x",))


async def test_closing_ends_every_stream(engine) -> None:
    scripted = engine()
    scripted.go.clear()
    dispatcher = Dispatcher([scripted])
    await dispatcher.open()
    await dispatcher.open()
    tasks = [asyncio.create_task(answer(dispatcher)) for _ in range(3)]
    await ticks()
    await dispatcher.close()
    await dispatcher.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, Closed) for result in results)
    assert scripted.inflight == 0
    with pytest.raises(Closed):
        await answer(dispatcher)


async def test_a_pinned_limit_is_obeyed_and_reported(engine) -> None:
    scripted = engine(slots=1)
    scripted.go.clear()
    async with Dispatcher([scripted]) as dispatcher:
        dispatcher.stations[0].pin(3)
        tasks = [asyncio.create_task(answer(dispatcher)) for _ in range(4)]
        await ticks()
        assert scripted.inflight == 3
        assert dispatcher.stats().flows[0].pinned
        dispatcher.stations[0].unpin()
        scripted.go.set()
        await asyncio.gather(*tasks)
