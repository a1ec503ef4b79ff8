"""G2: time to the first byte, directly and through each gateway in turn, at about a tenth of the load."""

import asyncio
from contextlib import AsyncExitStack
from statistics import median

from bench.gateway.arms import SMG, VLLM_ROUTER, Arm, fluido, installed, other, splice, stub
from bench.gateway.client import ask, link, many
from bench.gateway.result import Result, difference, percentile

PROMISE = "added to the first byte: p50 at most 0.3 ms, p99 at most 1 ms"
BESIDE = "the same beside one who sends 250 KB a second: p99 at most 2 ms"
SMALL, LARGE = 4 * 1024, 250 * 1024
WARM = 20
PAUSE_S = 0.004
MOST_P50_MS, MOST_P99_MS, MOST_BESIDE_MS = 0.3, 1.0, 2.0


async def added(calls: int = 400, *, neighbour: bool = False) -> Result:
    """Each call on a connection that is open, as clients keep it, and on a new one ("new")."""
    times: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(stub(first_s=0.002, gap_s=0.001, words=3))
        gateway = await stack.enter_async_context(fluido(engine))
        arms = [engine, gateway, await stack.enter_async_context(splice(engine))]
        others = () if neighbour else installed(VLLM_ROUTER, SMG)
        arms.extend([await stack.enter_async_context(other(each, engine)) for each in others])
        links = {arm.name: await link(arm) for arm in arms}
        for arm in arms:
            await many(arm, WARM, words=3)
        loud = asyncio.ensure_future(_loud(gateway)) if neighbour else None
        prompt = SMALL * "x"
        for at in range(calls):
            for arm in arms[:: 1 if at % 2 else -1]:
                for kind, on in (("", links[arm.name]), (", new", None)):
                    heard = await ask(arm, words=3, prompt=prompt, on=on)
                    times.setdefault(arm.name + kind, []).append(heard.ttft_s * 1e3)
                    await asyncio.sleep(PAUSE_S)
        if loud is not None:
            loud.cancel()
    shown = {
        name: {f"ms_p{q}": round(percentile(each, q), 3) for q in (50, 90, 99)}
        for name, each in times.items()
    }
    compared: dict[str, object] = {}
    for name, each in times.items():
        direct = times["direct, new" if name.endswith(", new") else "direct"]
        if each is not direct:
            compared[f"{name} p50"] = difference(each, direct, 50)
            compared[f"{name} p99"] = difference(each, direct, 99)
    met = _is_met(times["fluido"], times["direct"], neighbour=neighbour)
    return Result("G2", BESIDE if neighbour else PROMISE, shown, compared, met)


def _is_met(through: list[float], direct: list[float], *, neighbour: bool) -> bool:
    p99 = percentile(through, 99) - percentile(direct, 99)
    if neighbour:
        return p99 <= MOST_BESIDE_MS
    return median(through) - median(direct) <= MOST_P50_MS and p99 <= MOST_P99_MS


async def _loud(gateway: Arm) -> None:
    while True:
        await ask(gateway, words=1, prompt=LARGE * "y")
        await asyncio.sleep(1.0)
