"""G3: many open streams at once: none lost, the gaps between two words, memory of each, and what it costs."""

import asyncio
import resource
import time

from bench.gateway.arms import Arm, fluido, stub
from bench.gateway.client import Heard, ask, many
from bench.gateway.result import Result, percentile

PROMISE = "2,000 open streams, none lost, p99 of a gap at most 5 ms over direct, at most 60 KiB each"
OBSERVE = ("--observe",)
LASTS_S = 10.0
MOST_MORE_MS, MOST_KIB = 5.0, 60.0


async def open_streams(streams: int = 2000, gap_s: float = 0.2) -> Result:
    """Directly and through the gateway. The cores that the generator and the stub take are said beside it."""
    words = round(LASTS_S / gap_s)
    found: dict[str, dict[str, float]] = {}
    async with stub(first_s=0.05, gap_s=gap_s, wheel=1) as engine, fluido(engine, more=OBSERVE) as gateway:
        for arm in (engine, gateway):
            await many(arm, 3, words=3)
            before, before_kib = _cpu_s(engine, gateway), gateway.rss_kib()
            began_s = time.perf_counter()
            calls = asyncio.ensure_future(_spread(arm, streams, words))
            await asyncio.sleep(LASTS_S * 0.7)
            grown_kib = gateway.rss_kib() - before_kib
            heard = await calls
            took_s = time.perf_counter() - began_s
            after = _cpu_s(engine, gateway)
            used = [round((now - then) / took_s, 2) for now, then in zip(after, before, strict=True)]
            gaps = [gap * 1e3 for each in heard for gap in each.gaps_s]
            found[arm.name] = {
                "lost": sum(not each.is_whole for each in heard),
                "events_per_s": round(sum(each.events for each in heard) / took_s),
                **{f"gap_ms_p{q}": round(percentile(gaps, q), 1) for q in (50, 99)},
                "kib_each": round(grown_kib / streams, 1),
                **dict(zip(("cores_client", "cores_engine", "cores_gateway"), used, strict=True)),
            }
    through, direct = found["fluido"], found["direct"]
    more_ms = round(through["gap_ms_p99"] - direct["gap_ms_p99"], 1)
    compared = {
        "words a second asked for": round(streams / gap_s),
        "lost": through["lost"],
        "gap p99 over direct, ms": more_ms,
        "KiB each": through["kib_each"],
    }
    met = not through["lost"] and more_ms <= MOST_MORE_MS and through["kib_each"] <= MOST_KIB
    return Result("G3", PROMISE, found, compared, met)


def _cpu_s(engine: Arm, gateway: Arm) -> tuple[float, float, float]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime, engine.cpu_s(), gateway.cpu_s()


async def _spread(arm: Arm, streams: int, words: int) -> list[Heard]:
    """Begun over two seconds, so that 2,000 connections are not made in one moment."""

    async def one(at: int) -> Heard:
        await asyncio.sleep(2.0 * at / streams)
        return await ask(arm, words=words)

    return list(await asyncio.gather(*map(one, range(streams))))
