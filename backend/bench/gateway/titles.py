"""G8: a person's chat beside a page's own tasks (titles, tags), of which some are always under way."""

import asyncio

from bench.gateway.arms import Arm, fluido, stub
from bench.gateway.client import ask
from bench.gateway.result import Result, percentile

PROMISE = "a person's first word beside background titles: p95 at most 1.2 times without them"
WORDS, GAP_S, FIRST_S = 10, 0.02, 0.05
SLOTS = (1, 2, 4)
MOST_TIMES = 1.2
TASK = "### Task:\nGenerate a concise title."


async def titles(calls: int = 30) -> Result:
    """Engines of one, two and four slots, one task more than slots; the gateway told of the slots and not."""
    found: dict[str, dict[str, object]] = {}
    compared: dict[str, object] = {}
    met = True
    for slots in SLOTS:
        pace = {"slots": slots, "first_s": FIRST_S, "gap_s": GAP_S}
        async with (
            stub("ollama", **pace) as engine,
            fluido(engine, name="fluido, told", told=f",slots={slots}") as told,
            fluido(engine) as gateway,
        ):
            alone = await _waits(engine, 0, calls)
            row: dict[str, object] = {"alone": _shown(alone)}
            for arm in (told, gateway, engine):
                heard = await _waits(arm, slots + 1, calls)
                row[arm.name] = _shown(heard)
                times = round(percentile(heard, 95) / percentile(alone, 95), 2)
                compared[f"{slots} slots, {arm.name}"] = times
                met = met and (arm is not told or times <= MOST_TIMES)
            found[f"{slots} slots"] = row
    return Result("G8", PROMISE, found, compared, met)


def _shown(waits: list[float]) -> list[float]:
    return [round(percentile(waits, q), 3) for q in (50, 95)]


async def _waits(arm: Arm, tasks: int, calls: int) -> list[float]:
    beside = [asyncio.ensure_future(_title(arm)) for _ in range(tasks)]
    await asyncio.sleep(1.0)
    waits = []
    for _ in range(calls):
        waits.append((await ask(arm, api="ollama", words=WORDS)).ttft_s)
        await asyncio.sleep(0.1)
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    await asyncio.sleep(0.5)
    return waits


async def _title(arm: Arm) -> None:
    while True:
        await ask(arm, api="ollama", words=WORDS, prompt=TASK)
