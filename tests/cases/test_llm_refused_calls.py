"""Cases 4 and 5 of llm.md: a call's error is the call's, and what one engine lacks the next one has."""

import asyncio
import logging
import time
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from fluido.errors import EngineUnavailable
from fluido.llm import (
    Call,
    CallFailed,
    CallRejected,
    Delta,
    Dispatcher,
    Message,
    ModelMissing,
    OllamaEngine,
    StreamBroken,
)
from fluido.llm.admission._health import FAILED_CALLERS_TO_SUSPECT
from tests.cases.engine_shapes import OllamaShape, running
from tests.llm.asking import answer, ask, ticks
from tests.llm.conftest import ScriptedEngine, ended

pytestmark = pytest.mark.anyio
SYSTEM = Message("system", "You are Sentinel. " * 20)
FAULTS = [
    CallRejected("bad schema", status=400),
    CallFailed("invalid JSON schema in format", status=500),
    StreamBroken("the template raised", told=True),
]


def talk(name: str, turns: int) -> Call:
    messages = [SYSTEM]
    for turn in range(turns):
        messages += [Message("user", f"{name} {turn} " * 40), Message("assistant", f"{name} {turn} " * 40)]
    return Call((*messages, Message("user", f"{name} asks")), conversation=name, key=name)


def faulty(fault: Exception):
    """A script that refuses every call that asks for the bogus format, and answers the others."""

    async def script(call: Call):
        if call.response_format == "bogus":
            raise fault
        yield Delta("ok")
        yield ended(prompt_tokens=400, cached_tokens=400)

    return script


@pytest.mark.parametrize("fault", FAULTS, ids=["400", "500", "told"])
async def test_a_refused_call_costs_nobody_else_anything(fault) -> None:
    engine = ScriptedEngine(slots=2)
    async with Dispatcher([engine], cold_prefill_s=0.001) as dispatcher:
        station = dispatcher.stations[0]
        for turn in range(3):
            await answer(dispatcher, talk("a", turn))
            await ticks()
        engine.script = faulty(fault)
        held, sent = station.residency.held_tokens(), engine.started
        for caller in range(5):  # one user, again and again
            with pytest.raises((CallRejected, StreamBroken)):
                await answer(dispatcher, ask("x", response_format="bogus", key="bad"))
            assert engine.started == sent + caller + 1, "the same engine is not asked twice"
        assert station.health.up
        assert station.health.downs == 0
        assert max(station.residency.held_tokens()) == max(held), "nothing is forgotten"
        assert (await answer(dispatcher, talk("a", 3)))[1].dropped_messages == 0


async def test_the_same_error_for_several_callers_makes_the_engine_prove_itself() -> None:
    engine = ScriptedEngine(slots=2)

    async def broken(_: Call):
        raise CallFailed("out of memory", status=500)
        yield

    async with Dispatcher([engine]) as dispatcher:
        station = dispatcher.stations[0]
        engine.script = broken
        for caller in range(FAILED_CALLERS_TO_SUSPECT):
            assert station.health.up
            with pytest.raises(CallFailed):
                await answer(dispatcher, ask("x", key=str(caller)))
        await asyncio.wait_for(station.health._suspicion, 30)
        assert not station.health.up, "it refuses a ping as well"
        engine.script = None
        await asyncio.wait_for(station.health._recovery, 5)
        assert (await answer(dispatcher))[0] == "ab"


async def test_an_engine_that_answers_a_ping_is_not_taken_away_for_several_bad_callers() -> None:
    engine = ScriptedEngine(slots=2)
    engine.script = faulty(FAULTS[1])
    async with Dispatcher([engine]) as dispatcher:
        station = dispatcher.stations[0]
        for caller in range(3 * FAILED_CALLERS_TO_SUSPECT):
            with pytest.raises(CallFailed):
                await answer(dispatcher, ask("x", response_format="bogus", key=str(caller)))
            await ticks()
        assert station.health.downs == 0


@asynccontextmanager
async def pair(first: OllamaShape, second: OllamaShape):
    async with running(first) as one, running(second) as two:
        engines = [OllamaEngine(one.url), OllamaEngine(two.url)]
        async with Dispatcher(engines) as dispatcher:
            yield one, two, dispatcher


async def test_a_model_that_only_the_second_ollama_has_is_answered_there() -> None:
    async with pair(OllamaShape("m:latest"), OllamaShape("m:latest", "big:latest")) as (one, two, dispatcher):
        for _ in range(6):
            assert (await answer(dispatcher, ask(model="big")))[1].engine == two.url
        assert len([body for body in one.bodies if body["model"].startswith("big")]) <= 1
        with pytest.raises(ModelMissing):
            await answer(dispatcher, ask(model="nobody-has-this"))
        assert dispatcher.stats().up == (True, True)


async def test_a_model_removed_from_one_ollama_swallows_nothing_and_is_found_again() -> None:
    async with pair(OllamaShape("m:latest"), OllamaShape("m:latest")) as (one, two, dispatcher):
        assert (await answer(dispatcher))[1].engine == one.url
        one.names, one.loaded = ("other:latest",), None
        for _ in range(6):
            assert (await answer(dispatcher))[1].engine == two.url
        one.names = ("m:latest",)
        station = dispatcher.stations[0]
        name = station.facts.named("")
        assert station.missing("") is not None
        station.lacks._known[name] = (station.lacks.missing(name), 0.0, 10.0)  # time to ask again
        await answer(dispatcher)
        assert station.missing("") is None


async def test_a_model_that_was_pulled_meanwhile_is_served_at_once() -> None:
    async with running(OllamaShape("m:latest")) as shape, Dispatcher([OllamaEngine(shape.url)]) as dispatcher:
        for _ in range(2):
            with pytest.raises(ModelMissing):
                await answer(dispatcher, ask(model="new"))
        shape.names = ("m:latest", "new:latest")
        assert (await answer(dispatcher, ask(model="new")))[0] == "ok"


class Strict(OllamaShape):
    """Refuses every chat in a millisecond, as an embedding model or a strict template does."""

    async def chat(self, request, body):
        if body["messages"]:
            self.bodies.append(body)
            return web.json_response({"error": '"m" does not support chat'}, status=400)
        return await super().chat(request, body)


async def test_an_engine_that_refuses_quickly_attracts_nobody() -> None:
    async with pair(Strict("m:latest"), OllamaShape("m:latest")) as (one, two, dispatcher):
        for number in range(10):
            assert (await answer(dispatcher, ask(f"question {number}")))[1].engine == two.url
        assert len(one.bodies) <= 2, "passed over after others answered what it refuses"
        assert dispatcher.stats().up == (True, True)


async def test_what_every_engine_refuses_is_told_in_the_words_of_the_first() -> None:
    engines = [ScriptedEngine("one"), ScriptedEngine("two")]
    for engine in engines:
        engine.script = faulty(CallRejected(f"bad schema, says {engine.name}", status=400))
    async with Dispatcher(engines) as dispatcher:
        with pytest.raises(CallRejected, match="says one"):
            await answer(dispatcher, ask("x", response_format="bogus"))
        assert [engine.started for engine in engines] == [1, 1]
        assert not any(station.health.is_passed_over for station in dispatcher.stations)


class Stumbles(ScriptedEngine):
    """Its adapter raises what nobody expects."""

    stumbles = True

    async def facts(self, model: str = ""):
        if self.stumbles:
            raise KeyError("total_slots")
        return await super().facts(model)


async def test_an_adapter_that_stumbles_is_logged_asked_again_and_costs_a_second_at_most(caplog) -> None:
    engine = Stumbles()
    with caplog.at_level(logging.ERROR, logger="fluido.llm"):
        async with Dispatcher([engine]) as dispatcher:
            began_s = time.perf_counter()
            with pytest.raises(EngineUnavailable, match="KeyError"):
                await answer(dispatcher)
            assert time.perf_counter() - began_s < 5, "and not the caller's 300 s"
            engine.stumbles = False
            await asyncio.wait_for(dispatcher.stations[0].health._recovery, 5)
            assert (await answer(dispatcher))[0] == "ab"
    assert "KeyError" in caplog.text


async def test_an_adapter_that_stumbles_in_an_answer_is_told_as_a_broken_stream() -> None:
    engine = ScriptedEngine()

    async def stumbles(_: Call):
        yield Delta("a")
        raise KeyError("choices")

    engine.script = stumbles
    async with Dispatcher([engine]) as dispatcher:
        with pytest.raises(StreamBroken, match="KeyError"):
            await answer(dispatcher)
