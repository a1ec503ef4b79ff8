"""G10: more than the engine can do, with deadlines: who is let in is in time, others are told."""

import asyncio
import time
from dataclasses import dataclass, field
from statistics import mean

from bench.gateway.arms import Arm, fluido, stub
from bench.gateway.client import ask, many
from bench.gateway.result import Result, percentile

PROMISE = (
    "twice the load: 99 % of those let in are in time, refusals within 5 ms, "
    "95 % of those who obey Retry-After are answered"
)
WORDS, GAP_S, FIRST_S, SLOTS = 5, 0.04, 0.02, 4
ANSWER_S = WORDS * GAP_S + FIRST_S
DEADLINE_S, TRIES = 2.0, 4
LEAST_IN_TIME, MOST_MS, LEAST_ANSWERED = 0.99, 5.0, 0.95


@dataclass
class Seen:
    """What became of the calls. `ended` is the try that was answered, 0: none."""

    in_time: int = 0
    late: int = 0
    refused_ms: list[float] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)


async def overload(seconds: float = 12.0) -> Result:
    """One and a half times, twice and three times the load; the promise is for twice."""
    found: dict[str, dict[str, object]] = {}
    met = False
    compared: dict[str, object] = {}
    for times in (1.5, 2.0, 3.0):
        seen = await _loaded(times, seconds)
        let_in = seen.in_time + seen.late
        share = seen.in_time / max(1, let_in)
        answered = mean(each > 0 for each in seen.ended)
        late_ms = percentile(seen.refused_ms, 99)
        found[f"{times:g} times"] = {
            "calls": len(seen.ended),
            "let_in": let_in,
            "in_time_share": round(share, 4),
            "refused": len(seen.refused_ms),
            "refused_ms_p50_p99": [round(percentile(seen.refused_ms, q), 1) for q in (50, 99)],
            "answered_share": round(answered, 3),
            "at_first_try": round(mean(each == 1 for each in seen.ended), 3),
        }
        compared[f"{times:g} times: in time"] = round(share, 4)
        if times == 2.0:
            compared |= {"refused within, ms p99": round(late_ms, 1), "answered": round(answered, 3)}
            met = share >= LEAST_IN_TIME and late_ms <= MOST_MS and answered >= LEAST_ANSWERED
    return Result("G10", PROMISE, found, compared, met, f"{TRIES} tries, deadlines of {DEADLINE_S:g} s")


async def _loaded(times: float, seconds: float) -> Seen:
    seen = Seen()
    pace = {"slots": SLOTS, "first_s": FIRST_S, "gap_s": GAP_S}
    async with stub("ollama", **pace) as engine, fluido(engine) as gateway:
        for _ in range(12):
            await many(gateway, SLOTS, api="ollama", words=WORDS)
        calls, end_s = [], time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            calls.append(asyncio.ensure_future(_one(gateway, seen)))
            await asyncio.sleep(ANSWER_S / SLOTS / times)
        await asyncio.gather(*calls)
    return seen


async def _one(gateway: Arm, seen: Seen) -> None:
    for at in range(1, TRIES + 1):
        headers = f"x-deadline-ms: {int(DEADLINE_S * 1e3)}\r\n"
        heard = await ask(gateway, api="ollama", words=WORDS, headers=headers)
        if heard.status == 200:
            is_in_time = heard.is_whole and heard.ttft_s <= DEADLINE_S
            seen.in_time, seen.late = seen.in_time + is_in_time, seen.late + (not is_in_time)
            seen.ended.append(at)
            return
        if heard.took_s > DEADLINE_S / 2:
            seen.late += 1  # it was let wait, and in vain
        else:
            seen.refused_ms.append(heard.took_s * 1e3)
        await asyncio.sleep(heard.retry_after_s)
    seen.ended.append(0)
