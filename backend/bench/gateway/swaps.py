"""G6: two models of an engine that holds one, mixed calls at a steady rate: loads and waits."""

import asyncio
import copy
import random
import time
from collections.abc import Awaitable, Callable
from statistics import median

from bench.gateway.arms import Arm, figures, fluido, stub
from bench.gateway.client import ask
from bench.gateway.result import Result
from bench.llm.ollama_stage import loads, served
from embedded.model_server import EngineOptions
from embedded.synthetic import synthetic

PROMISE = "two models of which one fits, 200 calls: loads at most a quarter of direct"
SECOND = 0.4
WORDS = 8
MOST_SHARE = 0.25
Loads = Callable[[], Awaitable[int]]


async def swaps(calls: int = 200, rate: float = 10.0) -> Result:
    """On a real Ollama. Each arm gets the same calls; which model each asks for is drawn once."""
    async with served(EngineOptions(slots=2, slot_tokens=2048)) as server:
        other = copy.copy(server)
        other.model = synthetic(2)
        await asyncio.to_thread(other.create)
        names = (server.model.name, other.model.name)

        async def loaded() -> int:
            return loads(server)

        return await _compared(Arm("direct", server.port), names, loaded, calls, rate)


async def scripted_swaps(calls: int = 200, rate: float = 10.0, load_s: float = 0.5, slots: int = 4) -> Result:
    """On a scripted engine: a load of half a second, an answer of a fifth, half of what it can do."""
    pace = {"slots": slots, "first_s": 0.04, "gap_s": 0.02, "load_s": load_s, "models": "a,b"}
    async with stub("ollama", **pace) as engine:

        async def loaded() -> int:
            return int((await figures(engine))["loads"])

        return await _compared(engine, ("a", "b"), loaded, calls, rate)


async def _compared(engine: Arm, names: tuple[str, str], loaded: Loads, calls: int, rate: float) -> Result:
    draw = random.Random(7)
    which = [names[draw.random() < SECOND] for _ in range(calls)]
    found: dict[str, dict[str, float]] = {}
    async with fluido(engine) as gateway:
        for arm in (gateway, engine):
            await ask(arm, api="ollama", words=2, model=names[0])
            before = await loaded()
            found[arm.name] = await _played(arm, which, rate)
            found[arm.name]["loads"] = await loaded() - before
    through, direct = found["fluido"], found["direct"]
    share = through["loads"] / max(1, direct["loads"])
    compared = {
        "loads of direct": round(share, 3),
        "median of direct": round(through["median_s"] / direct["median_s"], 3),
        "longest of direct": round(through["longest_s"] / direct["longest_s"], 3),
    }
    met = share <= MOST_SHARE and through["whole"] == calls
    return Result("G6", PROMISE, found, compared, met, f"{calls} calls, {rate:g} a second")


async def _played(arm: Arm, which: list[str], rate: float) -> dict[str, float]:
    began_s = time.perf_counter()

    async def one(at: int) -> tuple[float, bool]:
        await asyncio.sleep(max(0.0, began_s + at / rate - time.perf_counter()))
        heard = await ask(arm, api="ollama", words=WORDS, model=which[at])
        return heard.took_s, heard.is_whole

    ended = await asyncio.gather(*(one(at) for at in range(len(which))))
    took = [seconds for seconds, _ in ended]
    return {
        "whole": sum(is_whole for _, is_whole in ended),
        "seconds": round(time.perf_counter() - began_s, 1),
        "median_s": round(median(took), 2),
        "longest_s": round(max(took), 2),
    }
