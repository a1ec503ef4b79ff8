import asyncio

import pytest

from fluido.errors import EngineUnavailable
from fluido.llm import Call, CallRejected, Dispatcher, Message, PromptTooLong, Timings, Wishes
from fluido.llm.admission._loader import DWELL_S, Widening

pytestmark = pytest.mark.anyio


def test_a_window_grows_by_doubling_up_to_the_most_there_is() -> None:
    assert Widening().due(2049, 2048, 8192, 0.0) == 4096
    assert Widening().due(5000, 2048, 8192, 0.0) == 8192
    assert Widening().due(99_999, 2048, 6000, 0.0) == 6000


@pytest.mark.parametrize(
    ("asked", "resident", "most"), [(2048, 2048, 8192), (1024, 2048, 8192), (4096, 2048, 2048)]
)
def test_who_asks_for_no_more_than_there_is_or_can_be_changes_nothing(
    asked: int, resident: int, most: int
) -> None:
    assert Widening().due(asked, resident, most, 0.0) is None


def test_wishes_within_the_dwell_time_are_served_together_by_the_next_reload() -> None:
    widening = Widening(dwell_s=60.0)
    assert widening.due(2000, 1024, 16384, 0.0) == 2048
    widening.tried(5.0)
    assert widening.due(8000, 2048, 16384, 10.0) is None
    assert widening.due(4000, 2048, 16384, 64.0) is None
    assert widening.due(3000, 2048, 16384, 65.0) == 8192


def test_over_its_life_there_are_as_many_reloads_as_doublings() -> None:
    widening, resident, reloads = Widening(dwell_s=1.0), 1024, 0
    for now in range(1000):
        window = widening.due(1024 + 37 * now, resident, 32768, 2.0 * now)
        if window is not None:
            resident, reloads = window, reloads + 1
            widening.tried(2.0 * now)
    assert (resident, reloads) == (32768, 5)


def ask(*, text: str = "q", **more: object) -> Call:
    return Call((Message("user", text),), **more)


async def answer(dispatcher: Dispatcher, call: Call) -> Timings:
    items = [item async for item in dispatcher.stream(call)]
    return items[-1]


async def ticks(count: int = 30) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


FACTS = {
    "slots": 2,
    "context_tokens": 1024,
    "loads": True,
    "runner": {"num_ctx": 1024},
    "most_context_tokens": 8192,
}


async def test_a_reload_that_is_planned_waits_for_the_others_and_serves_all_who_asked(engine) -> None:
    scripted = engine(**FACTS, wishes=Wishes.PLANNED)
    async with Dispatcher([scripted]) as dispatcher:
        scripted.go.clear()
        running = asyncio.create_task(answer(dispatcher, ask()))
        await ticks()
        wider = [asyncio.create_task(answer(dispatcher, ask(runner={"num_ctx": 3000}))) for _ in range(3)]
        await ticks()
        held = asyncio.create_task(answer(dispatcher, ask()))
        await ticks()
        assert (scripted.loads, scripted.started) == ([], 1)
        scripted.go.set()
        ends = await asyncio.gather(running, held, *wider)
        assert scripted.loads == [("m", 4096)]
        assert dispatcher.stations[0].facts.context_tokens == 4096
        assert dispatcher.stations[0].loader.grown == 1
        assert ends[2].notes == ("num_ctx=3000 was not applied: the loaded model keeps num_ctx=4096",)
        await answer(dispatcher, ask(runner={"num_ctx": 8000}))
        assert len(scripted.loads) == 1, f"not again within {DWELL_S:.0f} s"
        assert dispatcher.stats().residency[0].unplanned_loads == 0


async def test_what_fits_the_wider_window_is_served_in_it(engine) -> None:
    scripted = engine(**FACTS, wishes=Wishes.PLANNED)
    long = "many words " * 700
    async with Dispatcher([scripted]) as dispatcher:
        with pytest.raises(PromptTooLong):
            await answer(dispatcher, ask(text=long, trim=False))
        wide = ask(text=long, trim=False, runner={"num_ctx": 4096})
        dispatcher.check_room(wide)
        with pytest.raises(PromptTooLong):
            dispatcher.check_room(ask(text=long, trim=False))
        assert (await answer(dispatcher, wide)).dropped_messages == 0


async def test_a_caller_who_leaves_does_not_stop_the_reload(engine) -> None:
    scripted = engine(**FACTS, wishes=Wishes.PLANNED)
    async with Dispatcher([scripted]) as dispatcher:
        scripted.loading.clear()
        asked = asyncio.create_task(answer(dispatcher, ask(runner={"num_ctx": 2048})))
        await ticks()
        asked.cancel()
        await asyncio.wait({asked})
        other = asyncio.create_task(answer(dispatcher, ask()))
        await ticks()
        assert scripted.started == 0, "nothing runs beside a reload"
        scripted.loading.set()
        await other
        assert dispatcher.stations[0].facts.context_tokens == 2048


async def test_a_reload_that_fails_leaves_everybody_the_window_there_was(engine) -> None:
    scripted = engine(**FACTS, wishes=Wishes.PLANNED)
    async with Dispatcher([scripted]) as dispatcher:
        load = scripted.load

        async def no_memory(model: str, window_tokens: int | None = None) -> None:
            if window_tokens is not None:
                raise EngineUnavailable("out of memory")
            await load(model)

        scripted.load = no_memory
        assert (await answer(dispatcher, ask(runner={"num_ctx": 4096}))).notes
        assert set(scripted.loads) == {"m"}, "loaded again as it was"
        loads = len(scripted.loads)
        assert dispatcher.stations[0].facts.context_tokens == 1024
        await answer(dispatcher, ask(runner={"num_ctx": 4096}))
        assert len(scripted.loads) == loads, "not tried again at once"


async def test_unless_told_otherwise_a_wish_loads_nothing(engine) -> None:
    scripted = engine(**FACTS)
    async with Dispatcher([scripted]) as dispatcher:
        end = await answer(dispatcher, ask(runner={"num_ctx": 4096}))
        assert end.notes == ("num_ctx=4096 was not applied: the loaded model keeps num_ctx=1024",)
        assert scripted.loads == []


async def test_a_strict_engine_refuses_and_names_the_field(engine) -> None:
    scripted = engine(**FACTS, wishes=Wishes.STRICT)
    async with Dispatcher([scripted]) as dispatcher:
        await answer(dispatcher, ask(runner={"num_ctx": 1024}))
        with pytest.raises(CallRejected, match="num_ctx=4096 would reload") as caught:
            await answer(dispatcher, ask(runner={"num_ctx": 4096}))
        assert caught.value.field == "num_ctx"
        with pytest.raises(CallRejected):
            dispatcher.check_room(ask(runner={"num_batch": 64}))
        assert (scripted.started, scripted.loads) == (1, [])
