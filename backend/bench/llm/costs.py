"""What a prompt costs llama.cpp: by what it holds, by how long it is, and after a cut."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.llm.stage import Kitchen, engines

HELD = (0, 400, 1000, 1700)
NEW = (16, 64, 256)
OUTPUT_TOKENS = 16
VOCABULARY = range(5, 400)
HEAD, HISTORY, CUT, QUESTION = 50, 1500, 600, 40


@dataclass(frozen=True, slots=True)
class Cost:
    """One call: tokens found and computed, and what the engine says it took."""

    what: str
    cached_tokens: int
    computed_tokens: int
    prefill_ms: float
    token_ms: float


async def costs(kitchen: Kitchen) -> list[Cost]:
    """Calls one at a time on an engine of their own; the first prompts of a row are not shown."""
    source = random.Random(1)
    async with engines(kitchen, 1) as served, aiohttp.ClientSession() as session:
        door = _Door(session, served[0].url)
        found = []
        for held in HELD:
            for new in NEW:
                base = _tokens(held, source)
                if base:
                    await door.ask(base, 1)
                found.append(_cost("held", await door.ask([*base, *_tokens(new, source)], OUTPUT_TOKENS)))
        found += await _swapped(door, source)
        return found + await _cut(door, source)


class _Door:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/completion"

    async def ask(self, prompt: Sequence[int], output: int, slot: int = 0, **more: object) -> dict[str, Any]:
        body = {
            "prompt": list(prompt),
            "n_predict": output,
            "cache_prompt": True,
            "ignore_eos": True,
            "id_slot": slot,
            **more,
        }
        async with self._session.post(self._url, json=body) as reply:
            timings: dict[str, Any] = (await reply.json())["timings"]
            return timings


async def _swapped(door: _Door, source: random.Random) -> list[Cost]:
    """Two long prompts in turn through one slot: the second time, is each found in RAM?"""
    pair = [_tokens(HISTORY, source) for _ in range(2)]
    seen = [await door.ask(prompt, 4, slot=1) for prompt in (*pair, *pair)]
    return [_cost("lost its slot", timings) for timings in seen[2:]]


async def _cut(door: _Door, source: random.Random) -> list[Cost]:
    """A history whose beginning was left out, moved by the engine or computed again."""
    head, history = _tokens(HEAD, source), _tokens(HISTORY, source)
    await door.ask([*head, *history], 1, slot=2)
    question = _tokens(QUESTION, source)
    moved = await door.ask([*head, *history[CUT:], *question], 4, slot=2, n_cache_reuse=64)
    again = _tokens(HISTORY, source)
    await door.ask([*head, *again], 1, slot=2)
    computed = await door.ask([*head, *again[CUT:], *question], 4, slot=2)
    return [_cost("cut, moved", moved), _cost("cut, computed", computed)]


def _tokens(count: int, source: random.Random) -> list[int]:
    return [source.choice(VOCABULARY) for _ in range(count)]


def _cost(what: str, timings: dict[str, Any]) -> Cost:
    return Cost(
        what,
        timings["cache_n"],
        timings["prompt_n"],
        timings["prompt_ms"],
        timings["predicted_per_token_ms"],
    )
