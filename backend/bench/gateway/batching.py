"""G4: an engine that batches, and does not tell how many calls at once are good for it."""

import asyncio
import time

from bench.gateway.arms import Arm, figures, fluido, stub
from bench.gateway.client import ask
from bench.gateway.result import Result, ratio

PROMISE = "an engine that batches: 0.9 of its throughput after ten answers' time, its own queue at most 5 %"
CALLERS, WORDS, GAP_S, FIRST_S = 32, 10, 0.02, 0.02
ANSWER_S = FIRST_S + WORDS * GAP_S
AFTER_S, LASTS_S = 10 * ANSWER_S, 6.0
# The engines: one that takes everybody, one that gets slower for all beyond 16, one with a queue behind 16.
KINDS: dict[str, dict[str, int]] = {
    "all at once": {},
    "slower beyond 16": {"knee": 16},
    "a queue behind 16": {"slots": 16},
}
LEAST, MOST_QUEUE = 0.9, 0.05


async def batching(rounds: int = 3) -> Result:
    """Each round with a gateway that has just begun."""
    found: dict[str, dict[str, object]] = {}
    compared: dict[str, object] = {}
    met = True
    for kind, pace in KINDS.items():
        rates: dict[str, list[float]] = {"direct": [], "fluido": []}
        queues: list[float] = []
        for at in range(rounds):
            async with stub(first_s=FIRST_S, gap_s=GAP_S, words=WORDS, **pace) as engine:
                for name in ("direct", "fluido") if at % 2 == 0 else ("fluido", "direct"):
                    if name == "direct":
                        rates[name].append((await _rate(engine, engine))[0])
                        continue
                    async with fluido(engine) as gateway:
                        rate, queue = await _rate(gateway, engine)
                    rates[name].append(rate)
                    queues.append(queue)
        found[kind] = {
            **{f"{name}_per_s": [round(rate, 1) for rate in each] for name, each in rates.items()},
            "engine_queue_share": [round(queue, 3) for queue in queues],
        }
        compared[kind] = times = ratio(rates["fluido"], rates["direct"])
        met = met and times[0] >= LEAST and max(queues) <= MOST_QUEUE
    return Result("G4", PROMISE, found, compared, met)


async def _rate(arm: Arm, engine: Arm) -> tuple[float, float]:
    """Answers a second after ten answers' time; of the engine's work then, what share waited inside it."""
    done = 0
    began_s = time.perf_counter()
    end_s = began_s + AFTER_S + LASTS_S

    async def caller(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end_s:
            heard = await ask(arm, words=WORDS, prompt=f"question {number}")
            done += heard.is_whole and began_s + AFTER_S <= heard.ended_s <= end_s

    callers = [asyncio.ensure_future(caller(number)) for number in range(CALLERS)]
    await asyncio.sleep(AFTER_S)
    before = await figures(engine)
    await asyncio.gather(*callers)
    after = await figures(engine)
    busy_s = after["busy_s"] - before["busy_s"]
    return done / LASTS_S, (after["queued_s"] - before["queued_s"]) / max(busy_s, 1e-9)
