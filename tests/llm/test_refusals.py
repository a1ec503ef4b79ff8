import asyncio
import time

import pytest

from fluido.errors import Closed, EngineUnavailable, LimitReached, WaitTimeout
from fluido.llm import (
    Call,
    CallRejected,
    Dispatcher,
    Kind,
    Lane,
    Options,
)
from tests.llm.asking import answer, ask, ticks

pytestmark = pytest.mark.anyio


async def test_a_full_queue_refuses_with_what_it_knows(engine) -> None:
    scripted = engine()
    scripted.go.clear()
    async with Dispatcher([scripted], max_waiting=1) as dispatcher:
        tasks = [asyncio.create_task(answer(dispatcher)) for _ in range(2)]
        await ticks()
        with pytest.raises(LimitReached) as caught:
            await answer(dispatcher)
        assert caught.value.waiting == 1
        assert caught.value.retry_after_s > 0
        assert caught.value.predicted_wait_s == caught.value.retry_after_s
        scripted.go.set()
        await asyncio.gather(*tasks)


async def test_background_is_shed_first(engine) -> None:
    scripted = engine()
    scripted.go.clear()
    async with Dispatcher([scripted], max_waiting=1) as dispatcher:
        first = asyncio.create_task(answer(dispatcher))
        await ticks()
        background = asyncio.create_task(answer(dispatcher, ask(lane=Lane.BACKGROUND)))
        await ticks()
        typed = asyncio.create_task(answer(dispatcher))
        await ticks()
        with pytest.raises(LimitReached, match="shed"):
            await background
        scripted.go.set()
        await asyncio.gather(first, typed)


async def known(dispatcher: Dispatcher) -> None:
    """Let it see enough answers to trust what it predicts."""
    for _ in range(4):
        await answer(dispatcher)


async def test_at_a_cold_start_nobody_is_refused_for_a_guess(engine) -> None:
    scripted = engine(slots=4)
    scripted.go.clear()
    async with Dispatcher([scripted]) as dispatcher:
        calls = [
            ask(f"number {n}", options=Options(num_predict=512), deadline_s=time.perf_counter() + 20)
            for n in range(200)
        ]
        tasks = [asyncio.create_task(answer(dispatcher, call)) for call in calls]
        await ticks()
        flow = dispatcher.stats().flows[0]
        assert (flow.waiting + flow.inflight, flow.refused) == (200, 0)
        scripted.go.set()
        assert {text for text, _ in await asyncio.gather(*tasks)} == {"ab"}


async def test_a_call_without_a_deadline_waits_for_a_bounded_time(engine) -> None:
    scripted = engine()
    scripted.go.clear()
    async with Dispatcher([scripted], max_wait_s=0.05) as dispatcher:
        first = asyncio.create_task(answer(dispatcher, ask(deadline_s=time.perf_counter() + 60)))
        await ticks()
        with pytest.raises(WaitTimeout):
            await answer(dispatcher)
        scripted.go.set()
        await first


async def test_the_room_for_a_call_is_told_without_asking_anybody(engine, unavailable) -> None:
    scripted = engine()
    async with Dispatcher([scripted], max_waiting=1) as dispatcher:
        await known(dispatcher)
        asked = scripted.started
        dispatcher.check_room(ask())
        scripted.go.clear()
        long = ask(options=Options(num_predict=2000), kind=Kind.LONG)
        running = [asyncio.create_task(answer(dispatcher, long))]
        await ticks()
        dispatcher.check_room(ask())
        with pytest.raises(LimitReached) as caught:
            dispatcher.check_room(ask(deadline_s=time.perf_counter() + 0.5))
        assert caught.value.predicted_wait_s > 0.5
        running.append(asyncio.create_task(answer(dispatcher, ask(kind=Kind.LONG))))
        await ticks()
        with pytest.raises(LimitReached, match="full"):
            dispatcher.check_room(ask())
        assert scripted.started == asked + 1
        scripted.go.set()
        await asyncio.gather(*running)
        scripted.dead = unavailable
        with pytest.raises(EngineUnavailable):
            await answer(dispatcher)
        with pytest.raises(EngineUnavailable):
            dispatcher.check_room(ask())
        with pytest.raises(EngineUnavailable):
            dispatcher.check_up()
        with pytest.raises(CallRejected):
            dispatcher.check_room(Call(()))
    with pytest.raises(Closed):
        dispatcher.check_room(ask())


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(engine) -> None:
    scripted = engine()
    async with Dispatcher([scripted]) as dispatcher:
        await known(dispatcher)
        scripted.go.clear()
        first = asyncio.create_task(
            answer(dispatcher, ask(options=Options(num_predict=2000), kind=Kind.LONG))
        )
        await ticks()
        with pytest.raises(LimitReached):  # who waits till the deadline is told WaitTimeout
            await answer(dispatcher, ask(deadline_s=time.perf_counter() + 0.5))
        scripted.go.set()
        await first


async def test_a_deadline_that_passes_in_the_queue_ends_the_wait(engine) -> None:
    now = 0.0
    scripted = engine()
    scripted.go.clear()
    async with Dispatcher([scripted], clock=lambda: now) as dispatcher:
        first = asyncio.create_task(answer(dispatcher, ask(kind=Kind.SHORT, options=Options(num_predict=1))))
        await ticks()
        with pytest.raises(WaitTimeout):
            await answer(dispatcher, ask(kind=Kind.SHORT, options=Options(num_predict=1), deadline_s=0.11))
        assert scripted.started == 1
        scripted.go.set()
        await first


async def test_nonsense_is_refused(engine) -> None:
    async with Dispatcher([engine()]) as dispatcher:
        with pytest.raises(CallRejected):
            await answer(dispatcher, Call(()))
    with pytest.raises(ValueError, match="engine"):
        Dispatcher([])
