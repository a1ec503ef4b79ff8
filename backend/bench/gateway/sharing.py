"""G7: one client asks everything at once, another one call at a time; then equal keys side by side."""

import asyncio
import hashlib
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from bench.gateway.arms import Arm, fluido, stub
from bench.gateway.client import ask
from bench.gateway.result import Result, percentile

PROMISE = "one key asks 500 at once: another waits at most 2 answers (p95); Jain's index of 8 equal keys 0.95"
WORDS, GAP_S, FIRST_S, SLOTS = 5, 0.02, 0.01, 4
ANSWER_S = WORDS * GAP_S + FIRST_S
MOST_ANSWERS, LEAST_JAIN = 2.0, 0.95


async def shares(calls: int = 500, keys: int = 8) -> Result:
    """Through the gateway and directly."""
    found: dict[str, dict[str, object]] = {}
    waited: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(stub("ollama", slots=SLOTS, first_s=FIRST_S, gap_s=GAP_S))
        gateway = await stack.enter_async_context(fluido(engine, more=_keys_of(stack, keys)))
        for arm in (engine, gateway):
            greedy = [asyncio.ensure_future(_call(arm, 0)) for _ in range(calls)]
            await asyncio.sleep(0.5)
            # directly one of them takes all of the time
            waits = [await _call(arm, 1) for _ in range(20 if arm is gateway else 2)]
            for call in greedy:
                call.cancel()
            await asyncio.gather(*greedy, return_exceptions=True)
            await asyncio.sleep(0.5)
            waited[arm.name] = round(percentile(waits, 95) / ANSWER_S, 2)
            found[arm.name] = {"wait_in_answers_p95": waited[arm.name]}
        served = await _equal(gateway, keys)
    jain = round(sum(served) ** 2 / (len(served) * sum(x * x for x in served)), 4)
    found["fluido"]["served"] = served
    compared = {"p95 of a wait, in answers": waited["fluido"], "Jain": jain}
    return Result("G7", PROMISE, found, compared, waited["fluido"] <= MOST_ANSWERS and jain >= LEAST_JAIN)


async def _call(arm: Arm, key: int) -> float:
    return (await ask(arm, api="ollama", words=WORDS, headers=_key(key))).ttft_s


def _key(number: int) -> str:
    return f"authorization: Bearer {_secret(number)}\r\n"


def _secret(number: int) -> str:
    return f"key-{number}-of-the-bench-and-long-enough"


def _keys_of(stack: AsyncExitStack, count: int) -> tuple[str, ...]:
    """A file of keys."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    entries = []
    for number in range(count):
        digest = hashlib.sha256(_secret(number).encode()).hexdigest()
        entries.append(f'[[key]]\nname = "k{number}"\nhash = "sha256:{digest}"\n')
    path = folder / "keys.toml"
    path.write_text("\n".join(entries))
    return ("--keys", str(path))


async def _equal(gateway: Arm, keys: int, seconds: float = 8.0) -> list[int]:
    """What each of `keys` gets that always have 2, 4, 6 ... calls waiting."""
    served = [0] * keys
    end_s = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        while time.perf_counter() < end_s:
            heard = await ask(gateway, api="ollama", words=WORDS, headers=_key(number))
            served[number] += heard.is_whole and time.perf_counter() < end_s

    await asyncio.gather(*(caller(number) for number in range(keys) for _ in range(2 * (number + 1))))
    return served
