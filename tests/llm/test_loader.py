import asyncio

import pytest

from fluido.errors import EngineUnavailable
from fluido.llm import Call, Delta, Dispatcher, Message, Timings
from fluido.llm.admission._loader import Loader

pytestmark = pytest.mark.anyio


class Engineroom:
    """An engine whose loads take until `done` is set; counts what runs while a load runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done = asyncio.Event()
        self.done.set()
        self.loaded: list[str] = []
        self.paused = 0
        self.loader = Loader(
            self.load, self.pause, self.resume, budget_s=0.05, idle_s=100.0, clock=lambda: self.now
        )

    async def load(self, model: str, window_tokens: int | None) -> None:
        self.loaded.append(model if window_tokens is None else f"{model} {window_tokens}")
        await self.done.wait()

    async def pause(self) -> None:
        self.paused += 1

    def resume(self) -> None:
        self.paused -= 1


async def ticks(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_load_for_everybody() -> None:
    room = Engineroom()
    await asyncio.gather(*(room.loader.ready("m") for _ in range(5)))
    await room.loader.ready("m")
    assert room.loaded == ["m"]
    assert room.loader.loads == 1
    assert room.paused == 0


async def test_who_leaves_does_not_stop_the_load() -> None:
    room = Engineroom()
    room.done.clear()
    first, second = (asyncio.create_task(room.loader.ready("m")) for _ in range(2))
    await ticks()
    first.cancel()
    await asyncio.wait({first})
    room.done.set()
    await second
    assert room.loaded == ["m"]


async def test_loads_are_one_at_a_time() -> None:
    room = Engineroom()
    room.done.clear()
    tasks = [asyncio.create_task(room.loader.ready(model)) for model in "ab"]
    await ticks()
    assert room.loaded == ["a"]
    assert room.paused == 1
    room.done.set()
    await asyncio.gather(*tasks)
    assert room.loaded == ["a", "b"]


async def test_a_load_that_hangs_is_told_and_asked_for_again() -> None:
    room = Engineroom()
    room.done.clear()
    with pytest.raises(EngineUnavailable) as caught:
        await room.loader.ready("m")
    assert caught.value.retry_after_s == room.loader.expected_s
    assert room.paused == 0
    room.done.set()
    await room.loader.ready("m")
    assert room.loaded == ["m", "m"]


async def test_an_unused_model_is_loaded_again() -> None:
    room = Engineroom()
    await room.loader.ready("m")
    room.now = 99.0
    room.loader.served("m", 0.01)
    room.now = 198.0
    assert room.loader.resident("m")
    room.now = 200.0
    assert not room.loader.resident("m")


async def test_loads_that_we_did_not_plan_are_counted() -> None:
    room = Engineroom()
    room.loader.served("m", 3.0)
    room.loader.served("m", 0.02)
    assert room.loader.unplanned == 1


async def answer(dispatcher: Dispatcher, **more: object) -> tuple[str, Timings]:
    call = Call((Message("user", "q"),), **more)
    items = [item async for item in dispatcher.stream(call)]
    return "".join(i.text for i in items if isinstance(i, Delta)), items[-1]


async def test_a_load_waits_for_what_is_in_flight_and_holds_what_comes(engine) -> None:
    scripted = engine(slots=4, loads=True)
    async with Dispatcher([scripted]) as dispatcher:
        scripted.go.clear()
        first = asyncio.create_task(answer(dispatcher))
        await ticks()
        other = asyncio.create_task(answer(dispatcher, model="other"))
        await ticks()
        late = asyncio.create_task(answer(dispatcher))
        await ticks()
        assert scripted.loads == []
        assert scripted.inflight == 1
        scripted.loading.clear()
        scripted.go.set()
        await first
        await ticks()
        assert scripted.loads == ["other"]
        assert scripted.inflight == 0
        scripted.loading.set()
        await asyncio.gather(other, late)
        assert scripted.loads == ["other"]


async def test_a_model_that_is_not_resident_is_loaded_before_the_first_call(engine) -> None:
    scripted = engine(loads=True, resident=False)
    async with Dispatcher([scripted]) as dispatcher:
        await answer(dispatcher)
        await answer(dispatcher)
        assert scripted.loads == ["m"]
        assert dispatcher.stats().residency[0].loads == 1


async def test_closing_gives_a_load_up(engine) -> None:
    scripted = engine(loads=True, resident=False)
    scripted.loading.clear()
    dispatcher = Dispatcher([scripted])
    await dispatcher.open()
    task = asyncio.create_task(answer(dispatcher))
    await ticks()
    await dispatcher.close()
    results = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(results[0], Exception)
