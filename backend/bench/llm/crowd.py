"""A thousand calls that wait and two hundred streams: the memory they hold, and how soon all is free again.

The memory is ours alone, so its engine is in this process. How soon an engine is free after its callers left
is asked of the real llama.cpp: its own `/slots` is the witness.
"""

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

import aiohttp
import psutil

from bench.llm.overhead import InstantEngine
from bench.llm.stage import Kitchen, engines
from fluido.llm import Call, Delta, Dispatcher, EngineFacts, Message, OpenAIEngine, Options, Timings

WAITING, STREAMS = 1000, 200
TURNS = 20
TRIES = 10
GAP_S = 0.05
ANSWER_TOKENS = 1500
PATIENCE_S = 20.0


class EndlessEngine(InstantEngine):
    """Says a word now and then until its caller leaves; counts who is there."""

    def __init__(self) -> None:
        self.inflight = 0

    async def facts(self, model: str = "") -> EngineFacts:
        """As many slots as there are to be streams."""
        return EngineFacts(self.name, "llamacpp", model, STREAMS, 8192, "1", pins_slots=True)

    async def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Delta | Timings, None]:  # noqa: ARG002
        """Words without end."""
        self.inflight += 1
        try:
            while True:
                yield Delta("word ")
                await asyncio.sleep(GAP_S)
        finally:
            self.inflight -= 1


@dataclass(frozen=True, slots=True)
class Held:
    """MiB of this process: what the calls themselves are, then with all streams, then with all who wait.

    From the moment everybody leaves: `engine_free_ms` until nobody is at the engine, `leave_ms` until nobody
    is in the queue either.
    """

    streams: int
    waiting: int
    calls_mib: float
    streams_mib: float
    waiting_mib: float
    after_mib: float
    engine_free_ms: float
    leave_ms: float


async def held() -> Held:
    """Let them come, look, let them go."""
    process = psutil.Process()

    def mib() -> float:
        gc.collect()
        return float(process.memory_info().rss) / 2**20

    engine = EndlessEngine()
    async with Dispatcher([engine], max_waiting=WAITING) as dispatcher:
        station = dispatcher.stations[0]
        station.pin(STREAMS)
        start = mib()
        calls = [_call(number) for number in range(STREAMS + WAITING)]
        with_calls = mib()
        tasks = [asyncio.create_task(_listen(dispatcher, call)) for call in calls[:STREAMS]]
        await _until(lambda: engine.inflight == STREAMS)
        await asyncio.sleep(1.0)
        with_streams = mib()
        tasks += [asyncio.create_task(_listen(dispatcher, call)) for call in calls[STREAMS:]]
        await _until(lambda: len(station.queue) == WAITING)
        await asyncio.sleep(1.0)
        with_waiting = mib()
        began_s = time.perf_counter()
        for task in tasks:
            task.cancel()
        await _until(lambda: not engine.inflight)
        engine_s = time.perf_counter() - began_s
        await _until(lambda: not len(station.queue))
        leave_s = time.perf_counter() - began_s
        await asyncio.gather(*tasks, return_exceptions=True)
        del tasks, calls
        return Held(
            streams=STREAMS,
            waiting=WAITING,
            calls_mib=with_calls - start,
            streams_mib=with_streams - with_calls,
            waiting_mib=with_waiting - with_streams,
            after_mib=mib() - start,
            engine_free_ms=engine_s * 1e3,
            leave_ms=leave_s * 1e3,
        )


async def _until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not there():  # noqa: ASYNC110 - a count that nobody announces
            await asyncio.sleep(0)


async def _listen(dispatcher: Dispatcher, call: Call) -> None:
    async with aclosing(dispatcher.stream(call)) as stream:
        async for _ in stream:
            pass


def _call(number: int) -> Call:
    talk = [Message(("user", "assistant")[n % 2], f"{number} said {n} " * 12) for n in range(TURNS - 1)]
    messages = (Message("system", "brief"), *talk, Message("user", f"question {number}"))
    return Call(messages, conversation=str(number), key=str(number % 50))


@dataclass(frozen=True, slots=True)
class Freed:
    """Milliseconds from leaving until llama.cpp's `/slots` shows nobody at work; ghosts counted meanwhile."""

    moment: str
    tries: int
    ms_p50: float
    ms_longest: float
    ghosts: int


async def freed(kitchen: Kitchen) -> list[Freed]:
    """Leave all slots at once, in the middle of the answer and during the prefill."""
    async with engines(kitchen, 1) as served:
        url = served[0].url
        engine = OpenAIEngine(url, extra={"ignore_eos": True})
        async with aiohttp.ClientSession() as session, Dispatcher([engine]) as dispatcher:
            dispatcher.stations[0].pin(kitchen.slots)
            return [
                await _freed(dispatcher, session, url, kitchen.slots, moment)
                for moment in ("decode", "prefill")
            ]


async def _freed(
    dispatcher: Dispatcher, session: aiohttp.ClientSession, url: str, slots: int, moment: str
) -> Freed:
    took, ghosts = [], 0
    for number in range(TRIES):
        words = 3 if moment == "decode" else 140
        calls = [
            Call(
                (Message("user", f"{number} {slot} tells of the sea " * words),),
                options=Options(num_predict=ANSWER_TOKENS if moment == "decode" else 8, seed=1),
                trim=False,
            )
            for slot in range(slots)
        ]
        tasks = [asyncio.create_task(_listen(dispatcher, call)) for call in calls]
        expected = slots if moment == "decode" else 1
        async with asyncio.timeout(PATIENCE_S):
            while await _at_work(session, url) < expected:  # the server's own count, asked for in a request
                pass
        if moment == "decode":
            await asyncio.sleep(0.2)
        began_s = time.perf_counter()
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        ghosts += dispatcher.stats().residency[0].ghosts
        async with asyncio.timeout(PATIENCE_S):
            while await _at_work(session, url):
                pass
        took.append((time.perf_counter() - began_s) * 1e3)
    took.sort()
    return Freed(moment, TRIES, took[len(took) // 2], took[-1], ghosts)


async def _at_work(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(f"{url}/slots") as reply:
        return sum(slot["is_processing"] for slot in await reply.json())
