"""Real Ollama, random weights: loads over mixed requests, the slots found, the second turn, a naive client.

Ollama's own log is the witness of loads: it names every runner that it starts.
"""

import asyncio
import random
import re
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import aiohttp

import embedded
from embedded.folder import DataFolder
from embedded.model_server import EngineOptions
from embedded.process import Command
from embedded.synthetic import synthetic
from fluido.errors import EngineUnavailable
from fluido.llm import Call, Delta, Dispatcher, Kind, Message, OllamaEngine, Options, Timings
from fluido.llm.knee import Knee

STARTED = re.compile(r"starting go runner|starting ollama engine")
CREW = 6
FIND_CALLS = 30
PAIRS = 12
SLOTS = (1, 2, 4)
SYSTEM = Message("system", "You are Sentinel. " * 10)
WISHES: tuple[Mapping[str, object], ...] = ({}, {"num_ctx": 512}, {"num_ctx": 4096}, {"num_batch": 64})
NAIVE_OPTIONS = ({"num_ctx": 1024}, {"num_ctx": 2048}, {"num_ctx": 1024, "num_batch": 256})


class Multiuser(embedded.Ollama):
    """With the slot choice that Ollama offers for many users."""

    def command(self) -> Command:
        """The same program with one variable more."""
        plain = super().command()
        return replace(plain, environment={**plain.environment, "OLLAMA_MULTIUSER_CACHE": "1"})


@asynccontextmanager
async def served(slots: int, *, multiuser: bool = False) -> AsyncIterator[embedded.Ollama]:
    """An Ollama of our own with so many slots."""
    data = DataFolder(None)
    try:
        kind = Multiuser if multiuser else embedded.Ollama
        server = kind(data.take(), synthetic(), EngineOptions(slots=slots, slot_tokens=2048))
        await asyncio.to_thread(server.start)
        try:
            yield server
        finally:
            await asyncio.to_thread(server.stop)
    finally:
        data.release()


def loads(server: embedded.Ollama) -> int:
    """Models loaded so far."""
    return len(STARTED.findall(server.log.read_text()))


async def answered(dispatcher: Dispatcher, call: Call) -> tuple[str, Timings]:
    """The text and how it ended."""
    text, end = "", None
    async with aclosing(dispatcher.stream(call)) as stream:
        async for item in stream:
            if isinstance(item, Delta):
                text += item.text
            else:
                end = item
    assert end is not None  # noqa: S101 - a stream that did not raise has its end
    return text, end


@dataclass(frozen=True, slots=True)
class Mixed:
    """`requests` with differing kinds, lengths and runner wishes, `CREW` at a time."""

    requests: int
    answered: int
    reloads: int
    took_s: float


async def mixed(requests: int, *, seed: int = 1) -> Mixed:
    """How often Ollama loads the model again."""
    source = random.Random(seed)
    async with served(2) as server, Dispatcher([OllamaEngine(server.url)]) as dispatcher:
        await answered(dispatcher, Call((Message("user", "first"),), options=Options(num_predict=2)))
        before, began_s, done = loads(server), time.perf_counter(), 0
        left = iter(range(requests))

        async def caller() -> None:
            nonlocal done
            for number in left:
                await answered(dispatcher, _mixed_call(number, source))
                done += 1

        await asyncio.gather(*(caller() for _ in range(CREW)))
        return Mixed(requests, done, loads(server) - before, time.perf_counter() - began_s)


def _mixed_call(number: int, source: random.Random) -> Call:
    options = Options(num_predict=source.randint(1, 6), temperature=source.choice((None, 0.0, 0.8)))
    return Call(
        (SYSTEM, Message("user", f"question {number} " * source.randint(1, 8))),
        options=options,
        kind=source.choice(tuple(Kind)),
        key=str(number % 20),
        runner=source.choice(WISHES),
    )


@dataclass(frozen=True, slots=True)
class Found:
    """What the law of the limit made of an Ollama that does not tell its slots."""

    true_slots: int
    calls: int
    limit: float
    found_slots: int | None
    reasons: tuple[str, ...]


async def found_slots(slots: int) -> Found:
    """`FIND_CALLS` calls under steady demand, the search for the knee switched off: it asks for the slots."""
    law = Knee(None, elasticity=None)
    async with served(slots) as server:
        engine = OllamaEngine(server.url)
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

    @property
    def second_to_first(self) -> float:
        """At most a third is the goal."""
        return self.second_s / self.first_s


async def turns(*, multiuser: bool) -> Turns:
    """Ours: first and second turns of `PAIRS` conversations. Naive: a new client with options by query."""
    firsts, seconds = [], []
    async with served(4, multiuser=multiuser) as server:
        async with Dispatcher([OllamaEngine(server.url, slots=4)]) as dispatcher:
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
                "options": {"num_predict": 12, **NAIVE_OPTIONS[number % len(NAIVE_OPTIONS)]},
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
    return asdict(await mixed(requests))
