"""`python -m bench.engine_limit`: does an engine lose by our in-flight limit, where people queue or do not?

One real engine, arms in turn, block by block, each with its own dispatcher that goes on from block to block:
**stock** sends whatever comes at once, **law** is ours, the others hold a constant. Callers who come back at
once (tokens a second count), then Poisson arrivals at a part of the best rate (the whole answer counts, and
the first token). Before each of the two the law has had twenty answers, and no more. Prompts of different
arms differ, so that none finds another's in the engine's cache.
"""

import argparse
import asyncio
import math
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace

from bench.environment import describe
from bench.llm.stage import NEVER_ENDS, ONE_THREAD, Kitchen, Served, engines
from bench.matrix import Row, row
from embedded.ollama import built
from fluido.laws import Fixed
from fluido.llm import Call, Delta, Dispatcher, Engine, Message, OllamaEngine, OpenAIEngine, Options

STOCK = 1000
TO_BEST, LATENCY_TO_BEST = 0.95, 1 / 1.05
LEARNED = 20  # answers that the law has had before it is measured
SCATTER = 0.4


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked: words of a prompt, tokens of an answer, callers at once, seconds of a block."""

    words: int
    tokens: int
    callers: int
    block_s: float
    blocks: int
    light: float = 0.4
    """Share of the best rate at which calls come when nobody is to queue."""


@dataclass(frozen=True, slots=True)
class Cell:
    """An engine, what is asked of it, and the constants to compare with."""

    kitchen: Kitchen
    shape: Shape
    constants: Sequence[int] = (1, 2, 4)


ENGINES: dict[str, Cell] = {
    "llama.cpp, random weights": Cell(Kitchen("synthetic"), Shape(60, 32, 8, 1.5, 5)),
    "llama.cpp, SmolLM2": Cell(Kitchen("smollm2"), Shape(32, 16, 8, 4.0, 5), (1, 4)),
    "Ollama, random weights": Cell(Kitchen("ollama", light=True), Shape(60, 32, 8, 1.5, 5)),
}
"""The cells of the matrix."""


@dataclass(slots=True)
class Heard:
    """Of one block: tokens a second, and seconds to the first token and to the end."""

    rate: float = 0.0
    firsts: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)


class Asker:
    """Asks one arm's dispatcher, and times it."""

    def __init__(self, dispatcher: Dispatcher, arm: str, shape: Shape) -> None:
        self._dispatcher = dispatcher
        self._arm = arm
        self._shape = shape

    async def _ask(self, name: str, length: int, heard: Heard) -> int:
        text = f"{self._arm} {name} " + "alpha beta gamma delta " * (self._shape.words // 4)
        call = Call((Message("user", text),), options=Options(num_predict=length), trim=False)
        began_s, first_s, tokens = time.perf_counter(), None, 0
        async with aclosing(self._dispatcher.stream(call)) as stream:
            async for item in stream:
                first_s = first_s or time.perf_counter()
                tokens = tokens if isinstance(item, Delta) else item.output_tokens
        heard.firsts.append((first_s or began_s) - began_s)
        heard.wholes.append(time.perf_counter() - began_s)
        return tokens

    def _length(self, chance: random.Random) -> int:
        return max(4, round(chance.lognormvariate(0.0, SCATTER) * self._shape.tokens))

    async def closed(self, block: int, *, answers: float = math.inf) -> Heard:
        """Callers who come back at once, for the length of a block, or until so many answers have come."""
        heard, chance = Heard(), random.Random(block)
        began_s = time.perf_counter()

        async def caller(number: int) -> int:
            tokens = turn = 0
            while (
                time.perf_counter() - began_s < self._shape.block_s
                if answers == math.inf
                else len(heard.wholes) < answers
            ):
                turn += 1
                tokens += await self._ask(f"{block} {number} {turn}", self._length(chance), heard)
            return tokens

        tokens = await asyncio.gather(*(caller(number) for number in range(self._shape.callers)))
        heard.rate = sum(tokens) / (time.perf_counter() - began_s)
        return heard

    async def opened(self, block: int, rate: float, *, answers: float = math.inf) -> Heard:
        """Calls that come by chance, for as long."""
        heard, chance = Heard(), random.Random(100 + block)
        began_s = time.perf_counter()
        calls: list[asyncio.Future[int]] = []
        while (
            time.perf_counter() - began_s < self._shape.block_s
            if answers == math.inf
            else len(calls) < answers
        ):
            await asyncio.sleep(chance.expovariate(rate))
            name = f"open {block} {len(calls)}"
            calls.append(asyncio.ensure_future(self._ask(name, self._length(chance), heard)))
        await asyncio.gather(*calls)
        return heard


def engine(kitchen: Kitchen, served: Served) -> Engine:
    """The adapter for what was started."""
    if kitchen.engine == "ollama":
        return OllamaEngine(served.url, model=served.model, profile=ONE_THREAD)
    return OpenAIEngine(served.url, model=served.model, extra=NEVER_ENDS)


async def played(askers: Mapping[str, Asker], blocks: int, rate: float | None) -> dict[str, list[Heard]]:
    """Every arm in every block, in another order each time."""
    found: dict[str, list[Heard]] = {arm: [] for arm in askers}
    arms = list(askers)
    law = askers["law"]
    await (law.closed(-1, answers=LEARNED) if rate is None else law.opened(-1, rate, answers=LEARNED))
    for block in range(blocks):
        turn = block % len(arms)
        for arm in arms[turn:] + arms[:turn]:
            asker = askers[arm]
            found[arm].append(await (asker.closed(block) if rate is None else asker.opened(block, rate)))
    return found


async def engine_cell(name: str, *, short: bool = False) -> list[Row]:
    """Both loads on one engine of the matrix; none where Ollama is not built, which is said."""
    wanted = ENGINES[name]
    if wanted.kitchen.engine == "ollama" and built() is None:
        print(f"{name}: NOT RUN, because Ollama is not built here (make ollama)", flush=True)
        return []
    shape, constants = wanted.shape, wanted.constants
    if short:
        shape, constants = replace(shape, blocks=2, block_s=1.0), constants[-1:]
    return await cell(name, wanted.kitchen, shape, constants)


async def cell(name: str, kitchen: Kitchen, shape: Shape, constants: Sequence[int]) -> list[Row]:
    """Both loads on one engine."""
    async with AsyncExitStack() as closing:
        served = (await closing.enter_async_context(engines(kitchen, 1)))[0]
        askers: dict[str, Asker] = {}
        for arm in ("law", "stock", *map(str, constants)):
            fixed = Fixed(STOCK if arm == "stock" else float(arm)) if arm != "law" else None
            law = None if fixed is None else lambda _, fixed=fixed: fixed
            dispatcher = Dispatcher([engine(kitchen, served)], law=law, max_waiting=10_000)
            askers[arm] = Asker(await closing.enter_async_context(dispatcher), arm, shape)
        closed = await played(askers, shape.blocks, None)
        rates = {arm: [heard.rate for heard in blocks] for arm, blocks in closed.items()}
        best = max(map(str, constants), key=lambda arm: sum(rates[arm]))
        rows = [
            row(name, "tokens/s, queue", "stock", rates["stock"], rates["law"]),
            row(name, "tokens/s, queue", f"best const. {best}", rates[best], rates["law"], line=TO_BEST),
        ]
        light = shape.light * statistics.fmean(rates[best]) / shape.tokens
        opened = await played(askers, shape.blocks, light)
        wholes = {arm: [statistics.fmean(h.wholes) for h in blocks] for arm, blocks in opened.items()}
        firsts = {arm: [statistics.median(h.firsts) for h in blocks] for arm, blocks in opened.items()}
        soonest = min(map(str, constants), key=lambda arm: sum(wholes[arm]))
        rows += [
            row(
                name, "whole answer s, light", f"best const. {soonest}", wholes[soonest], wholes["law"],
                lower=True, line=LATENCY_TO_BEST,
            ),
            row(name, "first token s, light", "stock", firsts["stock"], firsts["law"], lower=True),
        ]  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; 1 when a line is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine_limit", description=__doc__)
    parser.add_argument("--engine", choices=["synthetic", "smollm2", "ollama"], default="synthetic")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--constants", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--words", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--block-s", type=float, default=3.0)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--light", type=float, default=0.4)
    given = parser.parse_args(argv)
    shape = Shape(given.words, given.tokens, given.callers, given.block_s, given.blocks, given.light)
    environment = describe()
    print(f"commit {environment.commit[:12]}{'+' if environment.dirty else ''}, {environment.cores} cores")
    kitchen = Kitchen(engine=given.engine, slots=given.slots, light=given.engine == "ollama")
    name = f"{kitchen.engine}, {kitchen.slots} slots"
    rows = asyncio.run(cell(name, kitchen, shape, given.constants))
    for found in rows:
        print(found, flush=True)
    return 0 if all(found.met for found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
