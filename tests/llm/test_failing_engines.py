import asyncio
import time

import pytest

from fluido.errors import Closed, EngineUnavailable
from fluido.llm import (
    Call,
    Delta,
    Dispatcher,
    Patience,
    StreamBroken,
)
from tests.llm.asking import answer, ask, ticks

pytestmark = pytest.mark.anyio


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
        assert time.perf_counter() - started < 5.0
        scripted.dead = None
        await asyncio.wait_for(dispatcher.stations[0].health._recovery, 30)
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
        await asyncio.wait_for(dispatcher.stations[0].health._recovery, 30)
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


async def test_who_only_waited_for_engines_that_were_lost_is_not_refused(engine) -> None:
    """Two engines lose a connection, one after the other; who stood in line was never given to either."""
    engines = [engine("first"), engine("second")]
    for scripted in engines:
        scripted.go.clear()
    async with Dispatcher(engines) as dispatcher:
        tasks = [asyncio.create_task(answer(dispatcher)) for _ in range(20)]
        await ticks()
        for station in dispatcher.stations:
            assert len(station.queue) > 0
            station.health.down("a connection was reset")
            await ticks()
        for scripted in engines:
            scripted.go.set()
        ends = [end for _, end in await asyncio.wait_for(asyncio.gather(*tasks), 5)]
    assert max(end.retries for end in ends) == 2
    assert sum(scripted.started for scripted in engines) == 20, "nothing was computed twice"


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
    scripted.mute = True
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
    scripted.mute = True
    async with Dispatcher([scripted], patience=Patience(first_token_s=0.01)) as dispatcher:
        for _ in range(2):
            with pytest.raises(EngineUnavailable):
                await answer(dispatcher)
        health = dispatcher.stations[0].health
        assert not health.up, "three silences in a row"
        scripted.script, scripted.mute = None, False
        started = scripted.started
        await asyncio.wait_for(health._recovery, 30)
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


async def test_an_engine_that_only_lost_a_connection_refuses_nobody(engine, unavailable) -> None:
    """All engines failed a moment ago: who comes now waits until one was asked again."""
    scripted = engine()
    async with Dispatcher([scripted]) as dispatcher:
        await answer(dispatcher)
        scripted.dead = unavailable
        first = asyncio.create_task(answer(dispatcher))
        await ticks()
        assert dispatcher.stats().up == (False,)
        scripted.dead = None
        dispatcher.check_room(ask())
        newcomer = asyncio.create_task(answer(dispatcher))
        assert (await first)[0] == (await newcomer)[0] == "ab"


async def test_who_waits_for_a_look_at_a_dead_engine_may_leave(engine, unavailable) -> None:
    scripted = engine()
    async with Dispatcher([scripted]) as dispatcher:
        await answer(dispatcher)
        scripted.dead = unavailable
        task = asyncio.create_task(answer(dispatcher))
        await ticks()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert dispatcher.stats().live == 0


async def test_closing_ends_the_wait_for_a_look(engine, unavailable) -> None:
    scripted = engine()
    async with Dispatcher([scripted]) as dispatcher:
        await answer(dispatcher)
        scripted.dead = unavailable
        task = asyncio.create_task(answer(dispatcher))
        await ticks()
    with pytest.raises((EngineUnavailable, Closed)):
        await task
