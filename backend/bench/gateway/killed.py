"""G11: one of two real engines is killed, while it reads prompts or in the middle of answers."""

import asyncio
import json
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import embedded
from bench.gateway.arms import Arm, fluido
from bench.gateway.client import Heard, ask
from bench.gateway.result import Result
from embedded.engine import EngineOptions
from embedded.synthetic import synthetic

PROMISE = (
    "an engine is killed before a token: no call fails; in the middle: all are told in the client's shape"
)
SLOTS, CALLS = 4, 10
# A prompt that takes the engine some seconds, and an answer that does.
LONG = "the house of the small dog " * 300
WORDS_LONG = 400
APIS = ("openai", "ollama")
# Of those that are not whole: failed before a word was heard, broken in the middle and told, and not told.
COUNTED = ("calls", "whole", "failed", "told", "silent")


async def killed(rounds: int = 5) -> Result:
    """Each round kills the engine that has calls, and starts it again."""
    found: dict[str, dict[str, int]] = {}
    async with _two() as (one, two):
        async with fluido(Arm("one", one.port), Arm("two", two.port)) as gateway:
            for kind in ("before", "middle"):
                row = found[kind] = dict.fromkeys(COUNTED, 0)
                for _ in range(rounds):
                    victim, heard = await _round(gateway, (one, two), kind)
                    _count(row, heard)
                    await asyncio.to_thread(victim.start_again)
                    await _answers(gateway)
        row = found["middle, directly"] = dict.fromkeys(COUNTED, 0)
        _, heard = await _round(Arm("direct", one.port), (one,), "middle", apis=("openai",))
        _count(row, heard)
    both = {name: found["before"][name] + found["middle"][name] for name in COUNTED}
    compared = {
        "calls": both["calls"],
        "failed before a word": both["failed"],
        "broke off in the middle": both["told"] + both["silent"],
        "of these told": both["told"],
    }
    met = both["told"] > 0 and not both["failed"] and not both["silent"]
    return Result("G11", PROMISE, found, compared, met)


def _count(row: dict[str, int], heard: list[Heard]) -> None:
    row["calls"] += len(heard)
    row["whole"] += sum(each.is_whole for each in heard)
    for each in heard:
        if not each.is_whole:
            row["failed" if not each.first_s else "told" if each.is_told else "silent"] += 1


async def _round(
    gateway: Arm, engines: tuple[embedded.Engine, ...], kind: str, apis: tuple[str, ...] = APIS
) -> tuple[embedded.Engine, list[Heard]]:
    """Kill the engine that has more of the calls; it, and what became of them."""
    is_before = kind == "before"
    calls = [
        asyncio.ensure_future(
            ask(
                gateway,
                api=apis[at % len(apis)],
                model=engines[0].model.name,
                prompt=f"{at} {LONG if is_before else 'Tell me a story.'}",
                words=4 if is_before else WORDS_LONG,
            )
        )
        for at in range(CALLS if is_before else 2 * SLOTS)
    ]
    await asyncio.sleep(0.4 if is_before else 1.5)
    busy = [await asyncio.to_thread(_busy, each) for each in engines]
    victim = engines[busy.index(max(busy))]
    assert victim.child is not None  # noqa: S101 - it was started
    victim.child.kill()
    return victim, list(await asyncio.gather(*calls))


def _busy(engine: embedded.Engine) -> int:
    """How many of its slots are at work."""
    with urllib.request.urlopen(f"{engine.url}/slots", timeout=5) as reply:  # noqa: S310 - on loopback
        return sum(slot["is_processing"] for slot in json.load(reply))


async def _answers(gateway: Arm) -> None:
    """Until the gateway has seen that both are there again."""
    await asyncio.sleep(3.0)
    await asyncio.gather(*(ask(gateway, model=synthetic().name, words=2) for _ in range(2)))


@asynccontextmanager
async def _two() -> AsyncIterator[tuple[embedded.Engine, embedded.Engine]]:
    options = EngineOptions(slots=SLOTS, slot_tokens=4096, threads=1, prompt_cache_mib=0)
    with tempfile.TemporaryDirectory() as folder:
        both = [
            embedded.Engine(Path(folder) / name, synthetic(), options, folder=name) for name in ("one", "two")
        ]
        try:
            for each in both:
                await asyncio.to_thread(each.start)
            yield both[0], both[1]
        finally:
            for each in both:
                await asyncio.to_thread(each.stop)
