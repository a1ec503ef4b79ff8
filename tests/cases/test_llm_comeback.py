"""An engine that dies and is replaced within a call's deadline is waited for, not told. In virtual time."""

import asyncio
import random
from dataclasses import replace

import pytest

from fluido.errors import EngineUnavailable, LimitReached, WaitTimeout
from fluido.llm import Call, Delta, Dispatcher, Patience, StreamBroken
from fluido.llm._errors import EngineBusy, Unreached
from tests.llm.asking import answer, ask, dispatcher_of, in_virtual_time, now_s
from tests.llm.conftest import ScriptedEngine, ended

GONE = Unreached("nobody there")


class MortalEngine(ScriptedEngine):
    """Takes `prefill_s` until its first token, and can be killed and started again."""

    prefill_s = 0.2

    def __init__(self, **more: object) -> None:
        super().__init__("mortal", slots=4, **more)  # type: ignore[arg-type]
        self.script = self.says
        self.died = asyncio.Event()

    async def says(self, _: Call):
        work = asyncio.create_task(asyncio.sleep(self.prefill_s))
        death = asyncio.create_task(self.died.wait())
        try:
            await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            death.cancel()
        if self.dead is not None:
            raise StreamBroken("connection reset")
        yield Delta("a")
        yield ended()

    def kill(self) -> None:
        self.dead = GONE
        self.died.set()

    def revive(self) -> None:
        self.dead, self.died = None, asyncio.Event()
        self.known = replace(self.known, instance=str(now_s()))


async def killed_and_restarted(engine: MortalEngine, away_s: float, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        engine.kill()
        await asyncio.sleep(away_s)
        engine.revive()


def test_of_2000_calls_none_learns_that_the_engine_was_killed_and_restarted() -> None:
    async def scene() -> None:
        engine, dice = MortalEngine(), random.Random(3)
        longest_s = 0.0

        async def person(number: int) -> None:
            nonlocal longest_s
            for turn in range(100):
                await asyncio.sleep(dice.expovariate(0.5))
                began_s = now_s()
                call = ask(f"{number}: {turn}", key=f"u{number}", deadline_s=began_s + 30)
                assert (await answer(dispatcher, call))[0] == "a"
                longest_s = max(longest_s, now_s() - began_s)

        async with dispatcher_of(engine) as dispatcher:
            killer = asyncio.create_task(killed_and_restarted(engine, 6.0, 15.0))
            await asyncio.gather(*(person(number) for number in range(20)))
            killer.cancel()
            stats = dispatcher.stats()
        assert (stats.answered, stats.failed, stats.waiting_for_engine) == (2000, 0, 0)
        assert dispatcher.stations[0].health.downs >= 5
        assert longest_s < 15, "answered soon after it was back"

    in_virtual_time(scene())


async def _dead_after_an_answer(engine: ScriptedEngine, dispatcher: Dispatcher) -> None:
    await answer(dispatcher)
    engine.dead = GONE


@pytest.mark.parametrize(
    ("company", "deaths", "fine"), [(True, 2, True), (True, 3, False), (False, 2, False)]
)
def test_a_death_that_was_shared_is_charged_less(company: bool, deaths: int, fine: bool) -> None:
    """Two replicas that are restarted one after the other kill nobody's call; a call that kills is told."""

    async def scene() -> None:
        engine = MortalEngine()
        async with dispatcher_of(engine) as dispatcher:
            await answer(dispatcher)
            station = dispatcher.stations[0]
            station.pin(4)
            engine.prefill_s = 1.0
            deadline_s = now_s() + 60
            calls = [ask(str(n), key=str(n), deadline_s=deadline_s) for n in range(3 if company else 1)]
            answers = [asyncio.create_task(answer(dispatcher, call)) for call in calls]
            for _ in range(deaths):
                while len(station.seats) < len(calls):  # noqa: ASYNC110  (not a proof of the health check)
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                engine.kill()
                await asyncio.sleep(0.5)
                engine.revive()
            ends = await asyncio.gather(*answers, return_exceptions=True)
            assert all(isinstance(end, tuple) is fine for end in ends), ends

    in_virtual_time(scene())


def test_an_engine_that_is_busy_is_asked_again_until_the_deadline() -> None:
    """A 503 of its own queue, or a model that is being loaded: the caller named the time that he has."""

    async def scene() -> None:
        engine = ScriptedEngine()
        free_s = now_s() + 20

        async def busy(_: Call):
            if now_s() < free_s:
                raise EngineBusy("Loading model", retry_after_s=1.0)
            yield Delta("a")
            yield ended()

        engine.script = busy
        async with dispatcher_of(engine) as dispatcher:
            with pytest.raises(EngineBusy):
                await answer(dispatcher)  # no deadline: told after one more try
            assert (now_s() < free_s - 10, engine.started) == (True, 2)
            assert (await answer(dispatcher, ask(deadline_s=now_s() + 60)))[0] == "a"
            assert now_s() < free_s + 7
            assert engine.started < 12, "not hammered"
            assert dispatcher.stats().up == (True,)

    in_virtual_time(scene())


def test_two_busy_engines_are_asked_in_turn_and_not_hammered() -> None:
    async def scene() -> None:
        engines = [ScriptedEngine("one"), ScriptedEngine("two")]

        async def busy(_: Call):
            raise EngineBusy("server busy", retry_after_s=1.0)
            yield

        for engine in engines:
            engine.script = busy
        async with dispatcher_of(*engines) as dispatcher:
            with pytest.raises((EngineBusy, WaitTimeout)):
                await answer(dispatcher, ask(deadline_s=now_s() + 30))
            assert [engine.started > 0 for engine in engines] == [True, True]
            assert sum(engine.started for engine in engines) < 15
            assert now_s() > 20.0, "asked for as long as the caller waits"

    in_virtual_time(scene())


def test_an_engine_that_wants_more_time_than_is_left_says_so_at_once() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()

        async def busy(_: Call):
            raise EngineBusy("quota", retry_after_s=40.0)
            yield

        engine.script = busy
        async with dispatcher_of(engine) as dispatcher:
            with pytest.raises(EngineBusy) as caught:
                await answer(dispatcher, ask(deadline_s=now_s() + 30))
            assert (caught.value.retry_after_s, engine.started, now_s() < 1.0) == (40.0, 1, True)

    in_virtual_time(scene())


@pytest.mark.parametrize("fault", [GONE, StreamBroken("its runner died"), EngineUnavailable("502")])
def test_a_model_that_cannot_be_loaded_is_not_asked_for_without_end(fault: EngineUnavailable) -> None:
    async def scene() -> None:
        engine = ScriptedEngine(slots=None, loads=True, resident=False)
        async with dispatcher_of(engine) as dispatcher:

            async def fails(model: str, window_tokens: int | None = None) -> None:
                engine.loads.append(model)
                await asyncio.sleep(0.01)
                raise fault

            engine.load = fails  # type: ignore[method-assign]
            with pytest.raises(EngineUnavailable):
                await answer(dispatcher)
            assert len(engine.loads) <= 10

    in_virtual_time(scene())


def test_the_wait_ends_at_the_deadline_and_without_one_it_is_told_at_once() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        async with dispatcher_of(engine) as dispatcher:
            await _dead_after_an_answer(engine, dispatcher)
            for deadline_s, waits_s in ((None, 1.0), (0.3, 0.35), (5.0, 5.05)):
                began_s = now_s()
                until_s = None if deadline_s is None else began_s + deadline_s
                with pytest.raises(EngineUnavailable):
                    await answer(dispatcher, ask(deadline_s=until_s))
                assert now_s() - began_s <= waits_s
            assert now_s() - began_s >= 4.9

    in_virtual_time(scene())


def test_an_engine_that_was_never_seen_is_told_in_under_a_second() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        engine.dead = GONE
        async with dispatcher_of(engine) as dispatcher:
            began_s = now_s()
            with pytest.raises(EngineUnavailable):
                await answer(dispatcher, ask(deadline_s=began_s + 60))
            assert now_s() - began_s < 1.0

    in_virtual_time(scene())


def test_one_that_stays_away_is_waited_for_no_longer_than_a_restart_takes() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        async with dispatcher_of(engine, patience=Patience(return_s=20)) as dispatcher:
            await _dead_after_an_answer(engine, dispatcher)
            began_s = now_s()
            with pytest.raises(EngineUnavailable):
                await answer(dispatcher, ask(deadline_s=began_s + 300))
            assert 19 < now_s() - began_s < 22
            began_s = now_s()
            with pytest.raises(EngineUnavailable):
                await answer(dispatcher, ask(deadline_s=began_s + 300))
            assert now_s() - began_s < 1.0, "it is known to be away for long"
            engine.dead = None
            await asyncio.sleep(3)
            assert (await answer(dispatcher))[0] == "ab"

    in_virtual_time(scene())


def test_as_many_wait_as_the_queue_takes_and_the_wait_shows() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        async with dispatcher_of(engine, max_waiting=5) as dispatcher:
            await _dead_after_an_answer(engine, dispatcher)
            with pytest.raises(EngineUnavailable):
                await answer(dispatcher)
            calls = [ask(f"q{n}", deadline_s=now_s() + 30) for n in range(8)]
            tasks = [asyncio.create_task(answer(dispatcher, call)) for call in calls]
            await asyncio.sleep(3)
            assert dispatcher.stats().waiting_for_engine == 5
            with pytest.raises(LimitReached):
                dispatcher.reserve(calls[0])
            tasks[0].cancel()
            await asyncio.sleep(0.1)
            assert dispatcher.stats().waiting_for_engine == 4
            place = dispatcher.reserve(calls[0])
            place.release()
            engine.dead = None
            results = await asyncio.gather(*tasks, return_exceptions=True)
            refused = [result for result in results if isinstance(result, LimitReached)]
            answered = [result for result in results if isinstance(result, tuple)]
            assert (len(refused), len(answered)) == (3, 4)
            assert all("waited" in end.notes[0] for _, end in answered)
            assert dispatcher.stations[0].queue.reserved == 0

    in_virtual_time(scene())


def test_who_reserved_a_place_may_come_while_the_engine_is_away() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        async with dispatcher_of(engine) as dispatcher:
            await _dead_after_an_answer(engine, dispatcher)
            with pytest.raises(EngineUnavailable):
                await answer(dispatcher)
            call = ask(deadline_s=now_s() + 30)
            place = dispatcher.reserve(call)
            with pytest.raises(EngineUnavailable):
                dispatcher.reserve(ask())
            asyncio.get_running_loop().call_later(4, setattr, engine, "dead", None)
            items = [item async for item in dispatcher.stream(call, place=place)]
            assert items[-1].finish_reason == "stop"
            assert dispatcher.stations[0].queue.reserved == 0

    in_virtual_time(scene())


def test_closing_ends_the_wait() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        async with dispatcher_of(engine) as dispatcher:
            await _dead_after_an_answer(engine, dispatcher)
            task = asyncio.create_task(answer(dispatcher, ask(deadline_s=now_s() + 60)))
            await asyncio.sleep(5)
            assert not task.done()
        began_s = now_s()
        with pytest.raises(Exception, match=r"closed|down"):
            await task
        assert now_s() - began_s < 1

    in_virtual_time(scene())


def test_one_engine_of_two_is_back() -> None:
    async def scene() -> None:
        engines = [ScriptedEngine(name) for name in ("first", "second")]
        async with dispatcher_of(*engines) as dispatcher:
            await answer(dispatcher)
            for engine in engines:
                engine.dead = GONE
            task = asyncio.create_task(answer(dispatcher, ask(deadline_s=now_s() + 60)))
            await asyncio.sleep(8)
            engines[1].dead = None
            _, end = await task
            assert end.engine == "second"

    in_virtual_time(scene())
