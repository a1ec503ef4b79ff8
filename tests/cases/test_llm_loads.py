"""Cases 8(b), 18 and 22 of llm.md and R5: windows, slow answers about an engine, another client's window."""

import asyncio
from dataclasses import replace

import pytest

from fluido.llm import Call, Dispatcher, Message, OllamaEngine, Options, RunnerProfile
from tests.cases.engine_shapes import OllamaShape, running
from tests.llm.asking import answer, ask
from tests.llm.conftest import ScriptedEngine

pytestmark = pytest.mark.anyio


class SlowToShow(OllamaShape):
    """A big model on a network disk: /api/show takes its time."""

    show_s = 1.2

    async def handle(self, request):
        if request.path == "/api/show":
            await asyncio.sleep(self.show_s)
        return await super().handle(request)


async def test_an_ollama_whose_show_takes_longer_than_a_second_is_used() -> None:
    async with running(SlowToShow()) as shape, Dispatcher([OllamaEngine(shape.url)]) as dispatcher:
        assert (await answer(dispatcher, ask()))[0] == "ok"
        assert shape.paths.count("/api/show") >= 1


async def test_how_long_a_question_may_take_is_settable() -> None:
    shape = SlowToShow()
    shape.show_s = 0.3
    async with running(shape), Dispatcher([OllamaEngine(shape.url, ask_s=0.1)]) as dispatcher:
        await asyncio.sleep(0.5)
        assert dispatcher.stats().up == (False,)


@pytest.mark.parametrize("window", [1024, 8192])
async def test_a_window_that_is_known_only_after_the_load_is_read_then(window) -> None:
    shape = OllamaShape(window=window)
    async with running(shape), Dispatcher([OllamaEngine(shape.url)]) as dispatcher:
        await answer(dispatcher, ask())
        assert dispatcher.stations[0].facts.context_tokens == window
        history = [Message("system", "You are brief.")]
        for turn in range(12):
            history.append(Message("user", f"{turn}: " + "The quick brown fox jumps. " * 60))
            call = Call(tuple(history), conversation="c", options=Options(num_predict=4))
            await answer(dispatcher, call)
            history.append(Message("assistant", "ok"))
        assert shape.loads == 1


async def other_client(shape: OllamaShape, window: int) -> None:
    """Loads the model with a window of its own, as Aider or Continue do."""
    if shape.loaded != ("m:latest", window):
        shape.loads += 1
        shape.loaded = ("m:latest", window)


async def test_another_clients_window_is_followed_where_the_prompt_fits() -> None:
    async with running(OllamaShape(window=4096)) as shape:
        engine = OllamaEngine(shape.url, profile=RunnerProfile(num_ctx=2048))
        async with Dispatcher([engine]) as dispatcher:
            for _ in range(3):
                await answer(dispatcher, ask("short", options=Options(num_predict=20)))
                await other_client(shape, 512)
            assert shape.loads == 2, "ours once, theirs once: and not five of six"
            assert dispatcher.stats().residency[0].unplanned_loads == 0


async def test_a_prompt_that_does_not_fit_another_clients_window_gets_its_own_by_a_planned_load() -> None:
    async with running(OllamaShape(window=4096)) as shape:
        engine = OllamaEngine(shape.url, profile=RunnerProfile(num_ctx=2048))
        async with Dispatcher([engine]) as dispatcher:
            await answer(dispatcher, ask("short"))
            await other_client(shape, 512)
            planned = dispatcher.stats().residency[0].loads
            text, _ = await answer(dispatcher, ask("many words of the sea " * 100, trim=False))
            assert text == "ok"
            assert shape.loaded == ("m:latest", 2048)
            assert dispatcher.stats().residency[0].loads == planned + 1


async def test_two_tasks_that_open_at_once_settle_one_profile() -> None:
    shape = SlowToShow(window=4096)
    shape.show_s = 0.2
    shape.loaded = ("m:latest", 2048)
    async with running(shape):
        dispatcher = Dispatcher([OllamaEngine(shape.url)])

        async def opens_and_asks() -> str:
            await dispatcher.open()
            return (await answer(dispatcher, ask()))[0]

        try:
            assert await asyncio.gather(opens_and_asks(), opens_and_asks()) == ["ok", "ok"]
            assert shape.loads == 0, "what was resident was taken over"
            assert {body["options"]["num_ctx"] for body in shape.bodies} == {2048}
        finally:
            await dispatcher.close()


async def test_a_profile_is_not_settled_out_of_nothing() -> None:
    engine = OllamaEngine("http://127.0.0.1:9")
    assert engine.profile("m").num_ctx is None
    async with running(OllamaShape(window=4096)) as shape:
        shape.loaded = ("m:latest", 2048)
        engine = OllamaEngine(shape.url)
        engine.body(ask("before anything is known", model="m"))
        async with Dispatcher([engine]) as dispatcher:
            await answer(dispatcher)
            assert shape.loads == 0


async def test_fewer_slots_after_a_restart_fail_nobody() -> None:
    """R3: the third of three streams ends after the engine came back with two slots."""
    engine = ScriptedEngine(slots=4)
    engine.go.clear()
    async with Dispatcher([engine]) as dispatcher:
        station = dispatcher.stations[0]
        station.pin(3)
        tasks = [asyncio.create_task(answer(dispatcher, ask(f"{n}", conversation=str(n)))) for n in range(3)]
        while engine.inflight < 3:  # noqa: ASYNC110  (the engine has no event for it)
            await asyncio.sleep(0)
        engine.known = replace(engine.known, slots=1, instance="another")
        await station._probe()
        engine.go.set()
        assert [text for text, _ in await asyncio.gather(*tasks)] == ["ab"] * 3
        assert station.inflight == 0
        assert (await answer(dispatcher))[0] == "ab"


async def test_more_permits_than_slots_pin_nothing_to_slot_0() -> None:
    engine = ScriptedEngine(slots=4)
    async with Dispatcher([engine]) as dispatcher:
        await answer(dispatcher)
        dispatcher.stations[0].pin(8)
        engine.go.clear()
        engine.slots.clear()
        tasks = [asyncio.create_task(answer(dispatcher, ask(f"{n} " * 9, key=str(n)))) for n in range(8)]
        while engine.inflight < 8:  # noqa: ASYNC110  (as above)
            await asyncio.sleep(0)
        engine.go.set()
        await asyncio.gather(*tasks)
    named = [slot for slot in engine.slots if slot is not None]
    assert len(named) == len(set(named)), "no slot is named twice"
