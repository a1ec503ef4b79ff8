import asyncio
import time
from contextlib import aclosing

import pytest

from fluido.errors import Closed, EngineUnavailable, LimitReached, WaitTimeout
from fluido.laws.fixed import Fixed
from fluido.llm import (
    Call,
    CallRejected,
    Delta,
    Dispatcher,
    Kind,
    Lane,
    Message,
    Options,
    Patience,
    StreamBroken,
    Timings,
)

pytestmark = pytest.mark.anyio


def ask(text: str = "hola", **more: object) -> Call:
    return Call((Message("user", text),), **more)


async def answer(dispatcher: Dispatcher, call: Call | None = None) -> tuple[str, Timings]:
    text, end = "", None
    async for item in dispatcher.stream(call or ask()):
        if isinstance(item, Timings):
            assert end is None
            end = item
        else:
            assert end is None, "nothing comes after the end"
            text += item.text
    assert end is not None
    return text, end


async def ticks(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


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
        started = time.perf_counter()
        with pytest.raises(LimitReached):
            await answer(dispatcher, ask(deadline_s=time.perf_counter() + 0.5))
        assert time.perf_counter() - started < 0.05
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


async def test_a_dead_engine_is_said_at_once_and_found_again(engine, unavailable) -> None:
    scripted = engine()
    async with Dispatcher([scripted]) as dispatcher:
        await answer(dispatcher)
        scripted.dead = unavailable
        started = time.perf_counter()
        with pytest.raises(EngineUnavailable):
            await answer(dispatcher)
        with pytest.raises(EngineUnavailable) as caught:
            await answer(dispatcher)
        assert caught.value.retry_after_s is not None
        assert time.perf_counter() - started < 0.5
        scripted.dead = None
        await asyncio.wait_for(dispatcher.stations[0].health._recovery, 2)
        assert (await answer(dispatcher))[0] == "ab"


async def test_those_who_wait_learn_that_the_engine_died(engine, unavailable) -> None:
    scripted = engine()
    scripted.go.clear()

    async def dies(_: Call):
        await scripted.go.wait()
        raise unavailable
        yield

    scripted.script = dies
    async with Dispatcher([scripted]) as dispatcher:
        tasks = [asyncio.create_task(answer(dispatcher)) for _ in range(4)]
        await ticks()
        scripted.dead = unavailable
        scripted.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, EngineUnavailable) for result in results)


async def test_an_engine_away_at_the_start_is_waited_for(engine, unavailable) -> None:
    scripted = engine()
    scripted.dead = unavailable
    async with Dispatcher([scripted]) as dispatcher:
        with pytest.raises(EngineUnavailable):
            await answer(dispatcher)
        scripted.dead = None
        await asyncio.wait_for(dispatcher.stations[0].health._recovery, 2)
        await answer(dispatcher)


async def test_before_the_first_token_another_engine_takes_over(engine) -> None:
    bad, good = engine("bad"), engine("good")

    async def breaks(_: Call):
        raise StreamBroken("gone")
        yield

    bad.script = breaks
    async with Dispatcher([bad, good]) as dispatcher:
        text, end = await answer(dispatcher)
    assert (text, end.engine, end.retries) == ("ab", "good", 1)


async def test_after_the_first_token_nobody_starts_again(engine) -> None:
    scripted = engine()

    async def breaks(_: Call):
        yield Delta("half an ans")
        raise StreamBroken("gone")

    scripted.script = breaks
    async with Dispatcher([scripted]) as dispatcher:
        stream = dispatcher.stream(ask())
        assert await anext(stream) == Delta("half an ans")
        with pytest.raises(StreamBroken):
            await anext(stream)
    assert scripted.started == 1


async def test_an_engine_that_goes_silent_is_given_up(engine) -> None:
    scripted = engine()

    async def stalls(_: Call):
        yield Delta("a")
        await asyncio.Event().wait()

    scripted.script = stalls
    async with Dispatcher([scripted], patience=Patience(gap_s=0.02)) as dispatcher:
        with pytest.raises(StreamBroken, match="silent"):
            await answer(dispatcher)
        assert scripted.inflight == 0


async def test_who_never_begins_is_given_up_and_has_to_prove_itself(engine) -> None:
    scripted = engine()

    async def stalls(_: Call):
        await asyncio.Event().wait()
        yield

    scripted.script = stalls
    async with Dispatcher([scripted], patience=Patience(first_token_s=0.01)) as dispatcher:
        for _ in range(2):
            with pytest.raises(EngineUnavailable):
                await answer(dispatcher)
        health = dispatcher.stations[0].health
        assert not health.up, "three silences in a row"
        scripted.script = None
        started = scripted.started
        await asyncio.wait_for(health._recovery, 2)
        assert scripted.started == started + 1, "one token was asked for"
        assert (await answer(dispatcher))[0] == "ab"


async def test_a_stream_without_timings_is_an_error(engine) -> None:
    scripted = engine()

    async def forgets(_: Call):
        yield Delta("a")

    scripted.script = forgets
    async with Dispatcher([scripted]) as dispatcher:
        with pytest.raises(StreamBroken):
            await answer(dispatcher)


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


async def test_nonsense_is_refused(engine) -> None:
    async with Dispatcher([engine()]) as dispatcher:
        with pytest.raises(CallRejected):
            await answer(dispatcher, Call(()))
    with pytest.raises(ValueError, match="engine"):
        Dispatcher([])


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
