"""G1: CPU of a streamed event (the slope between short and long answers) and of a call, arms in turn."""

from contextlib import AsyncExitStack
from statistics import median

from bench.gateway.arms import LITELLM, SMG, VLLM_ROUTER, Arm, fluido, installed, other, stub
from bench.gateway.client import many
from bench.gateway.result import Result, ratio

PROMISE = "CPU of an event: at most 1.2 times vllm-router's, translated 3 times; a fifteenth of litellm's"
# The same data path, without a limit that lets fewer streams in than the others do.
OBSERVE = ("--observe",)
SHORT, LONG = 10, 110
# litellm loses streams, of 100 that are open at once on this machine.
FEW = 20
MOST_TIMES, MOST_TRANSLATED, LEAST_OF_LITELLM = 1.2, 3.0, 15.0


async def cost(rounds: int = 4, streams: int = 100) -> Result:
    """Every arm in each round, in the one order and in the other."""
    found: dict[str, list[tuple[float, float]]] = {}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(stub(first_s=0.01, gap_s=0.03))
        second = await stack.enter_async_context(stub("ollama", first_s=0.01, gap_s=0.03))
        arms = [await stack.enter_async_context(fluido(engine, more=OBSERVE))]
        arms.append(await stack.enter_async_context(fluido(second, name="fluido, translated", more=OBSERVE)))
        others = installed(VLLM_ROUTER, SMG, LITELLM)
        arms.extend([await stack.enter_async_context(other(each, engine)) for each in others])
        for arm in arms:
            await many(arm, 20, words=3)
        for at in range(rounds):
            for arm in arms if at % 2 == 0 else arms[::-1]:
                count = streams if arm.name != LITELLM.name else FEW
                found.setdefault(arm.name, []).append(await _once(arm, count))
        memory = {arm.name: arm.rss_kib() // 1024 for arm in arms}
    events = {name: [event for event, _ in pairs] for name, pairs in found.items()}
    compared: dict[str, object] = {}
    met = None
    if "vllm-router" in events:
        for name in events.keys() - {"vllm-router"}:
            compared[f"{name} / vllm-router"] = ratio(events[name], events["vllm-router"])
        times = median(events["fluido"]) / median(events["vllm-router"])
        translated = median(events["fluido, translated"]) / median(events["vllm-router"])
        met = times <= MOST_TIMES and translated <= MOST_TRANSLATED
    if "litellm" in events:
        compared["litellm / fluido"] = ratio(events["litellm"], events["fluido"])
        met = met is not False and median(events["litellm"]) >= LEAST_OF_LITELLM * median(events["fluido"])
    arms_found = {
        name: {
            "event_us": [round(event, 1) for event, _ in pairs],
            "call_ms": [round(call, 2) for _, call in pairs],
            "median_event_us": round(median(event for event, _ in pairs), 1),
            "rss_mib": memory[name],
        }
        for name, pairs in found.items()
    }
    return Result("G1", PROMISE, arms_found, compared, met)


async def _once(arm: Arm, streams: int) -> tuple[float, float]:
    """Microseconds of an event, milliseconds of a call without its events."""
    used, events = [], []
    for words in (SHORT, LONG):
        before_s = arm.cpu_s()
        heard = await many(arm, streams, words=words)
        used.append(arm.cpu_s() - before_s)
        events.append(sum(each.events for each in heard))
    event_us = (used[1] - used[0]) / (events[1] - events[0]) * 1e6
    return event_us, (used[0] * 1e3 - events[0] * event_us / 1e3) / streams
