"""One KV buffer that two replicas fill: before the first token waited for, after it told. In virtual time."""

import asyncio

import pytest

from fluido.errors import WaitTimeout
from fluido.llm import CacheFull, Call, Delta, Dispatcher, StreamBroken
from fluido.llm._engine import Pulse, SlotState
from fluido.llm.admission._beliefs import Purse
from tests.llm.asking import answer, ask, in_virtual_time, now_s
from tests.llm.conftest import ScriptedEngine, ended


def full_until(until_s: float, *, words: int = 0):
    """A buffer that others fill until then; a call notices after `words`."""

    async def script(_: Call):
        for _number in range(words):
            yield Delta("a")
        if now_s() < until_s:
            raise CacheFull("Context size has been exceeded.")
        yield Delta("a")
        yield ended()

    return script


def test_a_call_that_met_a_full_buffer_waits_for_room() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        engine.script = full_until(now_s() + 15)
        async with Dispatcher([engine], clock=now_s) as dispatcher:
            text, end = await answer(dispatcher, ask(deadline_s=now_s() + 60))
            assert text == "a"
            assert 14.9 < end.total_s < 18
            assert engine.started < 20, "it asks with pauses"
            assert dispatcher.stations[0].health.downs == 0

    in_virtual_time(scene())


def test_it_waits_until_its_deadline_and_no_longer() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        engine.script = full_until(now_s() + 900)
        async with Dispatcher([engine], clock=now_s) as dispatcher:
            began_s = now_s()
            with pytest.raises(WaitTimeout):
                await answer(dispatcher, ask(deadline_s=began_s + 6))
            assert now_s() - began_s < 6.2
            assert dispatcher.stats().live == engine.inflight == 0

    in_virtual_time(scene())


def test_after_the_first_token_it_is_told() -> None:
    async def scene() -> None:
        engine = ScriptedEngine()
        engine.script = full_until(now_s() + 5, words=2)
        async with Dispatcher([engine], clock=now_s) as dispatcher:
            with pytest.raises(StreamBroken, match="Context size"):
                await answer(dispatcher)
            assert engine.started == 1

    in_virtual_time(scene())


def test_a_call_waits_while_the_other_replicas_tokens_leave_no_room() -> None:
    """What is seen in /slots: another's call holds 900 of 1,024 tokens for eight seconds."""

    async def scene() -> None:
        engine = ScriptedEngine(slots=4, context_tokens=1024, kv_tokens=1024)
        theirs = SlotState(3, True, 77, 900)
        idle = tuple(SlotState(slot, False) for slot in range(3))
        async with Dispatcher([engine], clock=now_s) as dispatcher:
            await answer(dispatcher)
            engine.shows = Pulse(resident=True, slots=(*idle, theirs))
            asyncio.get_running_loop().call_later(8, setattr, engine, "shows", None)
            began_s = now_s()
            await answer(dispatcher, ask("many words of the sea " * 40))
            assert now_s() - began_s == pytest.approx(8, abs=0.3)

    in_virtual_time(scene())


def test_half_of_one_buffer_is_ours_where_others_were_seen() -> None:
    purse = Purse(1000, 4)
    purse.is_one()
    assert purse.takes(400, 400)
    assert not purse.takes(400, 400, beside_others=True)
    assert purse.takes(900, 0, beside_others=True), "alone it always fits"
    split = Purse(1000, 4)
    split.holds(1500)
    assert split.takes(400, 400, beside_others=True)
