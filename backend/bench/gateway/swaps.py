"""G6: two models of a real Ollama that holds one, mixed calls at a steady rate: loads and waits."""

import asyncio
import copy
import random
import time
from statistics import median

from bench.gateway.arms import Arm, fluido
from bench.gateway.client import ask
from bench.llm.ollama_stage import loads, served
from embedded.synthetic import synthetic

SECOND = 0.4


async def swaps(calls: int = 200, rate: float = 20.0, seed: int = 7) -> dict[str, object]:
    """Each arm gets the same calls; which model each asks is drawn once."""
    draw = random.Random(seed)
    which = [draw.random() < SECOND for _ in range(calls)]
    found: dict[str, object] = {"calls": calls}
    async with served(2) as server:
        other = copy.copy(server)
        other.model = synthetic(2)
        await asyncio.to_thread(other.create)
        names = (server.model.name, other.model.name)
        engine = Arm("direct", server.port)
        async with fluido(engine) as gateway:
            for arm in (gateway, engine):
                await ask(arm.port, api="ollama", words=2, model=names[0])
                before, began_s = loads(server), time.perf_counter()

                async def one(at: int, arm: Arm = arm, began_s: float = began_s) -> tuple[float, bool]:
                    await asyncio.sleep(max(0.0, began_s + at / rate - time.perf_counter()))
                    heard = await ask(arm.port, api="ollama", words=8, model=names[which[at]])
                    return heard.ended_s - heard.sent_s, heard.is_whole

                ended = await asyncio.gather(*(one(at) for at in range(calls)))
                took = [seconds for seconds, _ in ended]
                found[arm.name] = {
                    "loads": loads(server) - before,
                    "whole": sum(is_whole for _, is_whole in ended),
                    "seconds": round(time.perf_counter() - began_s, 1),
                    "median_s": round(median(took), 2),
                    "longest_s": round(max(took), 2),
                }
    return found
