"""Cases 2, 10 and 12 of llm.md: what is silent and lives is waited for. In virtual time."""

import asyncio
from dataclasses import replace

import pytest

from fluido.errors import EngineUnavailable, WaitTimeout
from fluido.llm import Call, Delta, Patience, Pulse, SlotState, StreamBroken
from tests.llm.asking import answer, ask, dispatcher_of, in_virtual_time, now_s
from tests.llm.conftest import ScriptedEngine, ended


def late(first_s: float, gap_s: float = 0.0, words: int = 3):
    """A script whose first token comes after `first_s`, and each later one after `gap_s`."""

    async def script(_: Call):
        await asyncio.sleep(first_s)
        for _number in range(words):
            yield Delta("a")
            await asyncio.sleep(gap_s)
        yield ended()

    return script


@pytest.mark.parametrize("with_deadline", [True, False])
def test_a_first_token_after_35_seconds_arrives_at_once_asked(with_deadline) -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        engine.script = late(35.0)
        async with dispatcher_of(engine) as dispatcher:
            began_s = now_s()
            deadline_s = began_s + 120 if with_deadline else None
            text, end = await answer(dispatcher, ask(deadline_s=deadline_s))
            assert (text, end.retries, engine.started) == ("aaa", 0, 1)
            assert now_s() - began_s == pytest.approx(35.0, abs=0.1)

    in_virtual_time(scene())


def test_the_callers_deadline_rules_over_a_first_token() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        engine.script = late(35.0)
        async with dispatcher_of(engine) as dispatcher:
            began_s = now_s()
            with pytest.raises(WaitTimeout):
                await answer(dispatcher, ask(deadline_s=began_s + 20))
            assert now_s() - began_s == pytest.approx(20.0, abs=0.2)
            assert dispatcher.stats().up == (True,)

    in_virtual_time(scene())


def test_a_gap_inside_an_answer_is_no_end_while_the_engine_lives() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        engine.script = late(0.1, gap_s=40.0)
        async with dispatcher_of(engine) as dispatcher:
            assert (await answer(dispatcher))[0] == "aaa"
            assert engine.pulses >= 3
            assert dispatcher.stations[0].health.downs == 0

    in_virtual_time(scene())


def test_an_engine_that_lives_and_never_speaks_again_is_given_up_in_the_end() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        engine.script = late(0.1, gap_s=100_000.0)
        async with dispatcher_of(engine, patience=Patience(silence_s=100.0)) as dispatcher:
            with pytest.raises(StreamBroken, match="silent"):
                await answer(dispatcher)
            assert 100.0 <= now_s() < 110.0

    in_virtual_time(scene())


@pytest.mark.parametrize("first_s", [0.1, 100_000.0], ids=["in the middle", "before the first"])
def test_an_engine_that_is_silent_and_answers_nothing_is_given_up(first_s) -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        engine.script, engine.mute = late(first_s, gap_s=100_000.0), True
        async with dispatcher_of(engine) as dispatcher:
            with pytest.raises((StreamBroken, EngineUnavailable)):
                await answer(dispatcher)
            assert now_s() < 75.0

    in_virtual_time(scene())


def test_a_stream_whose_call_the_engine_does_not_know_is_lost() -> None:
    """The connection died unseen: the engine lives, and none of its slots is at work."""

    async def scene() -> None:
        engine = ScriptedEngine(slots=2)
        engine.script = late(0.1, gap_s=100_000.0)
        engine.shows = Pulse(slots=(SlotState(0, False), SlotState(1, False)))
        async with dispatcher_of(engine) as dispatcher:
            with pytest.raises(StreamBroken, match="silent"):
                await answer(dispatcher)
            assert now_s() < 30.0

    in_virtual_time(scene())


def test_a_late_first_token_moves_to_an_idle_engine_where_the_first_is_not_seen_at_work() -> None:
    """An Ollama that hangs answers every question about itself (ollama/ollama#14407)."""

    async def scene() -> None:
        slow, quick = ScriptedEngine("slow", slots=None), ScriptedEngine("quick")
        slow.script = late(1_000.0)
        async with dispatcher_of(slow, quick) as dispatcher:
            assert (await answer(dispatcher))[1].engine == "quick"
            assert now_s() == pytest.approx(30.0, abs=1.0)

    in_virtual_time(scene())


def test_a_late_first_token_is_waited_for_where_the_engine_is_seen_at_work() -> None:
    """What moved would begin anew: a prompt of two minutes, for a caller who waits five."""

    async def scene() -> None:
        slow, idle = ScriptedEngine("slow"), ScriptedEngine("idle")
        slow.script = late(120.0)
        async with dispatcher_of(slow, idle) as dispatcher:
            _, end = await answer(dispatcher, ask(deadline_s=now_s() + 300))
            assert (end.engine, end.retries, idle.started) == ("slow", 0, 0)

    in_virtual_time(scene())


def test_a_late_first_token_stays_until_another_engine_is_idle() -> None:
    async def scene() -> None:
        slow, busy = ScriptedEngine("slow", slots=None), ScriptedEngine("busy")
        slow.script, busy.script = late(1_000.0), late(0.1, gap_s=20.0)
        async with dispatcher_of(slow, busy) as dispatcher:
            first = asyncio.create_task(answer(dispatcher, ask("first")))
            await asyncio.sleep(0.01)
            other = asyncio.create_task(answer(dispatcher, ask("other")))
            assert (await other)[1].engine == "busy"
            ended_s = now_s()
            busy.script = None
            assert (await first)[1].engine == "busy"
            assert ended_s == pytest.approx(60.1, abs=0.1)
            assert now_s() - ended_s < 6

    in_virtual_time(scene())


def test_a_call_does_not_move_where_the_rest_of_its_deadline_is_no_better() -> None:
    """A slow Ollama tells nothing while it computes a prompt for 45 s; the other one may be as slow."""

    async def scene() -> None:
        slow, idle = ScriptedEngine("slow", slots=None), ScriptedEngine("idle", slots=None)
        slow.script = idle.script = late(45.0)
        async with dispatcher_of(slow, idle) as dispatcher:
            text, end = await answer(dispatcher, ask(deadline_s=now_s() + 60))
            assert (text, end.engine, end.retries, idle.started) == ("aaa", "slow", 0, 0)
            assert now_s() == pytest.approx(45.0, abs=0.1)

    in_virtual_time(scene())


def test_a_first_token_is_late_only_by_the_engines_own_pace() -> None:
    """Prompts that took 40 s so far: 150 s are no sign of a hang, and the caller waits 300."""

    async def scene() -> None:
        slow, other = ScriptedEngine("slow", slots=None), ScriptedEngine("other", slots=None)

        async def slowly(_: Call):
            await asyncio.sleep(40.0)
            yield Delta("a")
            yield ended(prefill_s=40.0, ttft_s=40.0, total_s=40.0)

        slow.script, other.script = slowly, late(0.1, gap_s=20.0)
        async with dispatcher_of(slow, other) as dispatcher:
            for _ in range(6):
                if not other.inflight:
                    holds = asyncio.create_task(answer(dispatcher, ask("holds the other one")))
                    await asyncio.sleep(0.01)
                await answer(dispatcher, ask("x" * 60, deadline_s=now_s() + 300))
            holds.cancel()
            other.script = late(0.1, gap_s=30.0)
            holds = asyncio.create_task(answer(dispatcher, ask("holds it a little")))
            await asyncio.sleep(0.01)
            slow.script, before = late(150.0), other.started
            assert slow.inflight == 0
            station = dispatcher.stations[0]
            assert not station.estimate.is_a_guess
            station_of_other = dispatcher.stations[1]
            station_of_other.health.outdone()  # it is asked after the slow one
            _, end = await answer(dispatcher, ask("x" * 60, deadline_s=now_s() + 300))
            assert (end.engine, end.retries, other.started) == ("slow", 0, before)
            holds.cancel()

    in_virtual_time(scene())


class Restarted(ScriptedEngine):
    """An Ollama that was restarted: the model has to be loaded, and a load whose asker leaves is aborted."""

    load_s = 12.0

    def __init__(self) -> None:
        super().__init__(slots=None, loads=True, idle_s=1800.0)
        self.is_loaded = True
        self.begun = self.aborted = 0

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        if self.dead is not None:
            raise self.dead
        if self.is_loaded:
            return
        self.begun += 1
        try:
            await asyncio.sleep(self.load_s)
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        self.is_loaded = True

    async def facts(self, model: str = ""):
        return replace(await super().facts(model), resident=self.is_loaded)

    async def pulse(self, model: str = "") -> Pulse:
        await super().pulse(model)
        return Pulse(resident=self.is_loaded, window_tokens=4096 if self.is_loaded else 0)

    async def stream(self, call: Call, *, slot: int | None = None):
        await self.load(call.model)
        async for item in super().stream(call, slot=slot):
            yield item


@pytest.mark.parametrize("load_s", [12.0, 60.0])
def test_restarted_while_an_answer_streams_it_is_answered_after_its_load(load_s) -> None:
    async def scene() -> None:
        engine = Restarted()
        engine.load_s = load_s
        async with dispatcher_of(engine) as dispatcher:
            await answer(dispatcher)
            engine.script = late(0.1, gap_s=0.5, words=20)
            streaming = asyncio.create_task(answer(dispatcher))
            await asyncio.sleep(1.0)
            engine.dead = EngineUnavailable("connection refused")

            async def breaks(_: Call):
                yield Delta("a")
                raise StreamBroken("closed the stream without an end")

            engine.script = breaks
            streaming.cancel()
            with pytest.raises((EngineUnavailable, StreamBroken)):
                await answer(dispatcher)
            station = dispatcher.stations[0]
            station.health.failed(StreamBroken("closed the stream without an end"))
            station.health._broken = max(1, station.health._broken)
            engine.dead, engine.script, engine.is_loaded = None, None, False  # systemctl restart ollama
            began_s = now_s()
            text = ""
            while not text:  # who asks while it is away is told so at once
                try:
                    text, _ = await answer(dispatcher, ask("again", deadline_s=began_s + 120))
                except EngineUnavailable:
                    await asyncio.sleep(0.1)
            assert now_s() - began_s <= load_s + 2.1
            assert (engine.begun, engine.aborted) == (1, 0)

    in_virtual_time(scene())


def test_a_caller_who_leaves_during_the_proof_does_not_abort_the_load() -> None:
    async def scene() -> None:
        engine = Restarted()
        async with dispatcher_of(engine) as dispatcher:
            await answer(dispatcher)
            station = dispatcher.stations[0]
            engine.is_loaded = False
            for _ in range(3):
                station.health.failed(StreamBroken("broken"))
            assert not station.health.up
            with pytest.raises(WaitTimeout):
                await answer(dispatcher, ask(deadline_s=now_s() + 3.0))
            leaves = asyncio.create_task(answer(dispatcher))
            await asyncio.sleep(2.0)
            leaves.cancel()
            assert (await answer(dispatcher))[0] == "ab"
            assert now_s() < 14.0
            assert (engine.begun, engine.aborted) == (1, 0)

    in_virtual_time(scene())


def test_a_model_that_another_client_evicted_is_loaded_again_in_the_loaders_time() -> None:
    async def scene() -> None:
        engine = Restarted()
        engine.load_s = 35.0
        async with dispatcher_of(engine) as dispatcher:
            await answer(dispatcher)
            engine.is_loaded = False
            with pytest.raises(WaitTimeout):
                await answer(dispatcher, ask(deadline_s=now_s() + 5.0))
            began_s = now_s()
            assert (await answer(dispatcher))[0] == "ab"
            assert now_s() - began_s <= 32.0
            assert (engine.begun, engine.aborted) == (1, 0)

    in_virtual_time(scene())
