"""G9: a client leaves, in the queue, during its prompt or during its answer: how long the engine works on."""

import asyncio
import time
from contextlib import AsyncExitStack

from bench.gateway.arms import LITELLM, Arm, figures, fluido, installed, other, stub
from bench.gateway.client import ask
from bench.gateway.result import Result, percentile

PROMISE = "a client leaves: the engine is free within 100 ms of direct, in 100 of 100"
FIRST_S, GAP_S, WORDS = 0.15, 0.02, 200
# When it leaves: in the prompt, or in the answer.
MOMENTS = {"prompt": 0.08, "answer": 0.22}
SOON_MS, GIVE_UP_S = 100.0, 2.0
# litellm lets the engine work on until its end: each try takes long.
FEW = 5


async def leaves(each: int = 25) -> Result:
    """As a stream and as a plain call, in the prompt and in the answer; and in a queue behind one call."""
    found: dict[str, dict[str, object]] = {}
    late: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(stub(first_s=FIRST_S, gap_s=GAP_S, words=WORDS))
        arms = [engine, await stack.enter_async_context(fluido(engine))]
        others = installed(LITELLM)
        arms.extend([await stack.enter_async_context(other(each, engine)) for each in others])
        for arm in arms:
            await ask(arm, words=2)
            for kind, leave_s in MOMENTS.items():
                for stream in (True, False):
                    name = f"{kind}, {'stream' if stream else 'plain'}"
                    tries = each if arm.name != LITELLM.name else FEW
                    took = [await _free_ms(arm, engine, leave_s, stream=stream) for _ in range(tries)]
                    late.setdefault(arm.name, []).extend(took)
                    found.setdefault(arm.name, {})[name] = [round(percentile(took, q), 1) for q in (50, 100)]
    found["fluido"]["queue"] = await _queued()
    direct = percentile(late["direct"], 50)
    soon = {name: sum(ms <= direct + SOON_MS for ms in took) for name, took in late.items()}
    count = len(late["fluido"])
    compared = {f"{name}: in time of {len(late[name])}": number for name, number in soon.items()}
    return Result("G9", PROMISE, found, compared, soon["fluido"] == count)


async def _free_ms(arm: Arm, engine: Arm, leave_s: float, *, stream: bool) -> float:
    await ask(arm, words=WORDS, leave_s=leave_s, stream=stream)
    left_s = time.perf_counter()
    while (await figures(engine))["inflight"] and time.perf_counter() - left_s < GIVE_UP_S:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    took_ms = (time.perf_counter() - left_s) * 1e3
    while (await figures(engine))["inflight"]:  # noqa: ASYNC110 - the next one begins at an engine at rest
        await asyncio.sleep(0.05)
    return took_ms


async def _queued(count: int = 10) -> str:
    """Who leaves the queue is never sent: the engine's count of calls stays as it was."""
    async with (
        stub("ollama", slots=1, first_s=0.05, gap_s=GAP_S) as engine,
        fluido(engine, told=",slots=1") as arm,
    ):
        await ask(arm, api="ollama", words=2)
        for _ in range(count):
            first = asyncio.ensure_future(ask(arm, api="ollama", words=10))
            await asyncio.sleep(0.05)
            await ask(arm, api="ollama", words=10, leave_s=0.05)
            await first
        said = await figures(engine)
    return (
        f"{round(said['served'] - 1)} of {count} answered, {round(said['left'])} of those who left were sent"
    )
