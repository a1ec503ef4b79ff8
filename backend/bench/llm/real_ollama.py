"""Real Ollama, random weights: loads over mixed requests, the slots found, the second turn, a naive client.

Ollama's own log is the witness of loads: it names every runner that it starts.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import aiohttp

from bench.llm.mixed import SYSTEM, mixed
from bench.llm.ollama_stage import PROFILE, answered, loads, served
from fluido.errors import EngineUnavailable
from fluido.laws import EngineLimit
from fluido.llm import Call, Dispatcher, Message, OllamaEngine, Options

FIND_CALLS = 30
PAIRS = 12
SLOTS = (1, 2, 4)
NAIVE_OPTIONS = ({"num_ctx": 1024}, {"num_ctx": 2048}, {"num_ctx": 1024, "num_batch": 256})


@dataclass(frozen=True, slots=True)
class Found:
    """What the law of the limit made of an Ollama that does not tell its slots."""

    true_slots: int
    calls: int
    limit: float
    found_slots: int | None
    reasons: tuple[str, ...]


async def found_slots(slots: int) -> Found:
    """`FIND_CALLS` calls under steady demand, to an engine that does not tell its slots."""
    law = EngineLimit(None)
    async with served(slots) as server:
        engine = OllamaEngine(server.url, profile=PROFILE)
        async with Dispatcher([engine], law=lambda _: law) as dispatcher:
            await answered(dispatcher, Call((Message("user", "first"),), options=Options(num_predict=2)))
            left = iter(range(FIND_CALLS))

            async def caller() -> None:
                for number in left:
                    question = Message("user", f"question {number} " * 4)
                    options = Options(num_predict=48)
                    await answered(dispatcher, Call((SYSTEM, question), options=options, key=str(number)))

            await asyncio.gather(*(caller() for _ in range(2 * slots + 4)))
            reasons = tuple(f"{d.reason} {d.value:g}" for d in dispatcher.stats().flows[0].decisions)
            return Found(slots, FIND_CALLS, law.value, law.found_slots, reasons)


@dataclass(frozen=True, slots=True)
class Turns:
    """Time to the first token, medians in seconds, of conversations that take turns over four slots."""

    multiuser: bool
    first_s: float
    second_s: float
    naive_s: float
    naive_reloads: int


async def turns(*, multiuser: bool) -> Turns:
    """Ours: first and second turns of `PAIRS` conversations. Naive: a new client with options by query."""
    firsts, seconds = [], []
    async with served(4, multiuser=multiuser) as server:
        async with Dispatcher([OllamaEngine(server.url, slots=4, profile=PROFILE)]) as dispatcher:
            await answered(dispatcher, Call((Message("user", "warm"),), options=Options(num_predict=2)))
            for number in range(PAIRS):
                question = Message("user", f"{number} tells of the harbour and the road. " * 12)
                options = Options(num_predict=12)
                name = str(number)
                text, end = await answered(
                    dispatcher, Call((SYSTEM, question), options=options, conversation=name)
                )
                firsts.append(end.ttft_s)
                talk = (SYSTEM, question, Message("assistant", text), Message("user", "And then?"))
                _, end = await answered(dispatcher, Call(talk, options=options, conversation=name))
                seconds.append(end.ttft_s)
        before = loads(server)
        naive = await _naive(server.url, server.model.name)
        return Turns(
            multiuser,
            statistics.median(firsts),
            statistics.median(seconds),
            statistics.median(naive),
            loads(server) - before,
        )


async def _naive(url: str, model: str) -> list[float]:
    """Second turns by a client that sends other runner options for each kind of query, as the first V2."""
    waits = []
    async with aiohttp.ClientSession() as session:
        for number in range(PAIRS):
            talk = [SYSTEM, Message("user", f"{number} tells of the harbour and the road. " * 12)]
            talk += [Message("assistant", "It is said. " * 4), Message("user", "And then?")]
            body: dict[str, Any] = {
                "model": model,
                "messages": [{"role": m.role, "content": m.content} for m in talk],
                "options": {
                    "num_predict": 12,
                    **PROFILE.given(),
                    **NAIVE_OPTIONS[number % len(NAIVE_OPTIONS)],
                },
            }
            began_s = time.perf_counter()
            async with session.post(f"{url}/api/chat", json=body) as reply:
                await reply.content.readany()
                waits.append(time.perf_counter() - began_s)
                await reply.read()
    return waits


async def _with_multiuser_cache() -> dict[str, Any]:
    """The same turns, or what Ollama says when its runner dies of them (0.20 does)."""
    try:
        return asdict(await turns(multiuser=True))
    except EngineUnavailable as error:
        return {"died": str(error)}


async def everything(requests: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All of it, as plain data; each part is said as soon as it is known."""
    parts: dict[str, Callable[[], Awaitable[Any]]] = {
        "turns": _plain_turns,
        "multiuser": _with_multiuser_cache,
        **{f"found_{slots}": partial(_found, slots) for slots in SLOTS},
        "mixed": partial(_mixed, requests),
    }
    found = {}
    for name, part in parts.items():
        found[name] = await part()
        say(f"{name}: {found[name]}")
    return found


async def _plain_turns() -> dict[str, Any]:
    return asdict(await turns(multiuser=False))


async def _found(slots: int) -> dict[str, Any]:
    return asdict(await found_slots(slots))


async def _mixed(requests: int) -> dict[str, Any]:
    return {name: asdict(arm) for name, arm in (await mixed(requests)).items()}
