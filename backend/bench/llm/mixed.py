"""Mixed requests with differing wishes about the runner: through us, and asked by a client that sends them.

Both arms ask the same questions, as many at a time, each of its own Ollama, in turns of a block.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import aiohttp

import embedded
from bench.llm.ollama_stage import PROFILE, answered, loads, served
from fluido.llm import Call, Dispatcher, Kind, Message, OllamaEngine, Options

CREW = 6
BLOCKS = 10
NAIVE_SHARE = 5  # a block of the naive arm takes the first fifth of ours: it loads the model all the time
NAIVE_PATIENCE_S = 60.0
SYSTEM = Message("system", "You are Sentinel. " * 10)
WISHES: tuple[Mapping[str, object], ...] = ({}, {"num_ctx": 512}, {"num_ctx": 4096}, {"num_batch": 64})


@dataclass(frozen=True, slots=True)
class Mixed:
    """One arm: seconds to the first token, and how often Ollama loaded the model after the first time."""

    requests: int
    answered: int
    reloads: int
    ttft_s_p50: float
    ttft_s_p95: float
    took_s: float


class Arm:
    """Asks `CREW` at a time and writes down when the first token came."""

    def __init__(self, ask: Callable[[Call], Awaitable[float]], server: embedded.Ollama) -> None:
        self._ask = ask
        self._server = server
        self._ttft_s: list[float] = []
        self._requests = 0
        self._took_s = 0.0
        self._loads = 0

    async def warm(self) -> None:
        """The first load is nobody's fault."""
        await self._ask(Call((Message("user", "first"),), options=Options(num_predict=2)))
        self._loads = loads(self._server)

    async def block(self, calls: Iterable[Call]) -> None:
        """All of `calls`. One that gets no answer in its time counts as asked and not as answered."""
        left, began_s = iter(calls), time.perf_counter()

        async def caller() -> None:
            for call in left:
                self._requests += 1
                try:
                    self._ttft_s.append(await self._ask(call))
                except TimeoutError:
                    continue

        await asyncio.gather(*(caller() for _ in range(CREW)))
        self._took_s += time.perf_counter() - began_s

    def found(self) -> Mixed:
        """What came of it."""
        ordered = sorted(self._ttft_s)
        return Mixed(
            requests=self._requests,
            answered=len(ordered),
            reloads=loads(self._server) - self._loads,
            ttft_s_p50=statistics.median(ordered),
            ttft_s_p95=ordered[int(0.95 * len(ordered))],
            took_s=self._took_s,
        )


async def mixed(requests: int, *, seed: int = 1) -> dict[str, Mixed]:
    """`requests` through us and a fifth of them naively."""
    source = random.Random(seed)
    calls = [_call(number, source) for number in range(requests)]
    size = -(-requests // BLOCKS)
    async with (
        served(2) as mine,
        served(2) as theirs,
        Dispatcher([OllamaEngine(mine.url, profile=PROFILE)]) as dispatcher,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):

        async def through_us(call: Call) -> float:
            return (await answered(dispatcher, call))[1].ttft_s

        async def naively(call: Call) -> float:
            return await _naive(session, theirs, call)

        ours, naive = Arm(through_us, mine), Arm(naively, theirs)
        await ours.warm()
        await naive.warm()
        for start in range(0, requests, size):
            block = calls[start : start + size]
            await ours.block(block)
            await naive.block(block[: max(1, len(block) // NAIVE_SHARE)])
        return {"ours": ours.found(), "naive": naive.found()}


def _call(number: int, source: random.Random) -> Call:
    options = Options(num_predict=source.randint(1, 6), temperature=source.choice((None, 0.0, 0.8)))
    return Call(
        (SYSTEM, Message("user", f"question {number} " * source.randint(1, 8))),
        options=options,
        kind=source.choice(tuple(Kind)),
        key=str(number % 20),
        runner=source.choice(WISHES),
    )


async def _naive(session: aiohttp.ClientSession, server: embedded.Ollama, call: Call) -> float:
    """The same call as a client sends it that knows nothing of runners."""
    body = {
        "model": server.model.name,
        "messages": [{"role": m.role, "content": m.content} for m in call.messages],
        "options": {**call.options.given(), **PROFILE.given(), **call.runner},
    }
    began_s = time.perf_counter()
    async with asyncio.timeout(NAIVE_PATIENCE_S):
        async with session.post(f"{server.url}/api/chat", json=body) as reply:
            await reply.content.readany()
            first_s = time.perf_counter()
            await reply.read()
    return first_s - began_s
