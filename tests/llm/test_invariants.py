"""What must hold whatever happens: bounded memory, nothing lost, nothing twice, little overhead."""

import asyncio
import random
import time
import tracemalloc
from contextlib import aclosing

import psutil
import pytest
from aiohttp import web

from fluido.errors import FluidoError, LimitReached
from fluido.llm import (
    Call,
    Delta,
    Dispatcher,
    Lane,
    Message,
    OllamaEngine,
    Options,
    Patience,
    StreamBroken,
    Timings,
    Wishes,
    runner_part,
)

pytestmark = pytest.mark.anyio


def ask(text: str = "hola", **more: object) -> Call:
    return Call((Message("user", text),), **more)


async def answer(dispatcher: Dispatcher, call: Call) -> tuple[str, Timings]:
    items = [item async for item in dispatcher.stream(call)]
    return "".join(item.text for item in items if isinstance(item, Delta)), items[-1]


async def ticks(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_ten_thousand_waiting_calls_take_little_memory_and_leave_at_once(engine) -> None:
    scripted = engine()
    scripted.go.clear()
    async with Dispatcher([scripted], max_waiting=10_000) as dispatcher:
        await ticks()
        before = psutil.Process().memory_info().rss
        tasks = [asyncio.create_task(answer(dispatcher, ask(f"{n}", key=str(n % 50)))) for n in range(11_000)]
        await ticks()
        used_mib = (psutil.Process().memory_info().rss - before) / 2**20
        flow = dispatcher.stats().flows[0]
        assert flow.waiting == 10_000
        assert flow.refused == 11_000 - 10_001
        assert used_mib < 300, "some 15 KiB each, with the caller's own task"
        started = time.thread_time()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert time.thread_time() - started < 10.0, "processor time: nobody looks for his place in line"
        flow = dispatcher.stats().flows[0]
        assert (flow.waiting, flow.inflight, scripted.inflight) == (0, 0, 0)
        assert scripted.started == 1, "nobody who waited ever reached the engine"


class Runner:
    """What a scripted Ollama would have loaded, by what it was asked; notices what would reload it."""

    def __init__(self, server) -> None:
        self.inflight = 0
        self.loaded: dict[str, object] = {"num_ctx": 1024}
        self.planned: list[dict[str, object]] = []
        self.unplanned = 0
        server.json("/api/version", {"version": "0.20.0"})
        server.json("/api/show", {"model_info": {"llama.context_length": 8192}})
        server.json("/api/tags", {"models": [{"name": "m"}]})
        server.routes["/api/ps"] = self.resident
        server.routes["/api/chat"] = self.chat

    async def resident(self, _: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": "m", "context_length": self.loaded["num_ctx"]}]})

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        runner = runner_part(body["options"])
        if runner != self.loaded:
            if body["messages"] or self.inflight:
                self.unplanned += 1
            self.planned.append(runner)
            self.loaded = runner
        self.inflight += 1
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            return web.json_response({"message": {"content": "ok"}, "done": True})
        finally:
            self.inflight -= 1


@pytest.mark.parametrize("wishes", [Wishes.RESIDENT, Wishes.PLANNED])
async def test_runner_options_differ_only_across_a_planned_reload(server, wishes: Wishes) -> None:
    """Else Ollama reloads, and two calls in flight that disagree can hang it (ollama/ollama#14407)."""
    runner, weather = Runner(server), random.Random(1)
    async with Dispatcher([OllamaEngine(server.url, wishes=wishes)]) as dispatcher:
        dispatcher.stations[0].pin(4)
        asked = [{"num_ctx": weather.choice([512, 1024, 3000])} for _ in range(40)]
        asked += [{"num_batch": 64, "num_gpu": 1}, {"use_mmap": False}, {}]
        await asyncio.gather(*(answer(dispatcher, ask(str(n), runner=wish)) for n, wish in enumerate(asked)))
        assert runner.unplanned == 0
        assert runner.planned == ([{"num_ctx": 4096}] if wishes is Wishes.PLANNED else [])


async def test_two_hundred_readers_that_never_read_are_bounded_and_hold_nobody(engine, timings) -> None:
    scripted = engine(slots=4)

    async def talks(_: Call):
        for _ in range(100):
            yield Delta("x" * 10_000)
            await asyncio.sleep(0)
        yield timings()

    scripted.script = talks
    patience = Patience(slow_reader_s=0.01)
    async with Dispatcher([scripted], patience=patience) as dispatcher:
        dispatcher.stations[0].pin(200)
        streams = [dispatcher.stream(ask(str(n))) for n in range(200)]
        tracemalloc.start()
        await asyncio.gather(*(anext(stream) for stream in streams))
        async with asyncio.timeout(20):
            while scripted.inflight:  # noqa: ASYNC110  (the engine's own end is what is waited for)
                await asyncio.sleep(0.01)
        used_mib = tracemalloc.get_traced_memory()[0] / 2**20
        tracemalloc.stop()
        assert used_mib < 200 * 0.5, "the bound is 256 Ki characters each"
        for stream in streams:
            await stream.aclose()
        assert dispatcher.stats().live == 0


async def visit(dispatcher: Dispatcher, weather: random.Random, number: int) -> str:
    """One caller in that weather; how it ended."""
    text, leaves = f"message {number}", weather.random() < 0.2
    options = Options(num_predict=5, temperature=weather.choice([0.0, None]))
    call = ask(text, lane=weather.choice(list(Lane)), key=str(number % 7), options=options)
    heard, timed = "", 0
    async with aclosing(dispatcher.stream(call)) as stream:
        try:
            async for item in stream:
                assert not timed, "nothing after the end"
                if isinstance(item, Timings):
                    timed += 1
                    continue
                heard += item.text
                if leaves:
                    return "left"
        except FluidoError:
            assert text.startswith(heard)
            return "failed"
    assert timed == 1
    assert heard == text
    return "answered"


@pytest.mark.parametrize("seed", range(5))
async def test_every_call_ends_exactly_once_in_any_weather(engine, timings, seed: int) -> None:
    """Engines that break at random, callers that leave at random, deadlines, lanes, a full queue."""
    weather = random.Random(seed)

    async def moody(call: Call):
        for _ in range(weather.randrange(4)):
            await asyncio.sleep(0)
        if weather.random() < 0.03:
            raise StreamBroken("before")
        for piece in call.messages[-1].content:
            yield Delta(piece)
            await asyncio.sleep(0)
            if weather.random() < 0.004:
                raise StreamBroken("in the middle")
        yield timings()

    engines = [engine(f"e{n}", slots=2) for n in range(2)]
    for each in engines:
        each.script = moody
    ends = {"answered": 0, "failed": 0, "left": 0}
    async with Dispatcher(engines, max_waiting=20) as dispatcher:
        for wave in range(10):
            calls = [visit(dispatcher, weather, wave * 30 + n) for n in range(30)]
            for end in await asyncio.gather(*calls):
                ends[end] += 1
        for station in dispatcher.stations:
            flow = station.stats()
            assert (flow.inflight, flow.waiting) == (0, 0)
            assert all(count == 0 for count in station.residency._claims.values())
        assert all(each.inflight == 0 for each in engines)
        assert all(each.peak <= 2 for each in engines)
        assert dispatcher.stats().live == 0
    assert sum(ends.values()) == 300
    assert ends["answered"] > 30


async def test_nothing_is_added_to_an_idle_engine_that_a_person_could_notice(engine) -> None:
    """2 ms at the 99th percentile is the promise; it was measured at commit 847b8eb (docs/results/llm).

    Here only the processor's time is looked at, which other work on the machine does not add to.
    """
    async with Dispatcher([engine(slots=4)]) as dispatcher:
        times = []
        for number in range(300):
            started = time.thread_time()
            await answer(dispatcher, ask(f"a question of some length, number {number} " * 5))
            times.append(time.thread_time() - started)
    times.sort()
    assert times[int(0.5 * len(times))] < 0.002
    assert times[int(0.9 * len(times))] < 0.004, "slack for a processor that others use"


async def test_a_full_queue_answers_in_less_than_fifty_milliseconds(engine) -> None:
    scripted = engine()
    scripted.go.clear()
    async with Dispatcher([scripted], max_waiting=500) as dispatcher:
        tasks = [asyncio.create_task(answer(dispatcher, ask(str(n)))) for n in range(501)]
        await ticks()
        times = []
        for _ in range(20):
            started = time.perf_counter()
            with pytest.raises(LimitReached):
                await answer(dispatcher, ask())
            times.append(time.perf_counter() - started)
        assert sorted(times)[10] < 0.05
        scripted.go.set()
        await asyncio.gather(*tasks)
