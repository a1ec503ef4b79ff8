"""What is measured of a gateway: CPU, added time, open streams, shares, leaves, overload."""

import asyncio
import hashlib
import json
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import mean, median

import numpy as np

from bench.gateway.arms import Arm, fluido, has_vllm_router, stub, vllm_router
from bench.gateway.client import Heard, ask

OBSERVE = ("--observe",)
WARM = 3
SMALL, LARGE = 4 * 1024, 250 * 1024


def percentile(values: list[float], q: float) -> float:
    """Of a sample."""
    return float(np.percentile(values, q)) if values else float("nan")


async def many(arm: Arm, count: int, **asked: object) -> list[Heard]:
    """`count` calls at once."""
    return list(await asyncio.gather(*(ask(arm.port, **asked) for _ in range(count))))  # type: ignore[arg-type]


async def cpu(rounds: int = 3, streams: int = 100) -> dict[str, object]:
    """G1: CPU of an event (slope between 10 and 110 words a stream) and of a call, arms in turn."""
    found: dict[str, list[tuple[float, float]]] = {}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(stub(first_s=0.01, gap_s=0.03))
        # --observe: the same data path, without a limit that lets fewer streams in than the others do
        arms = [await stack.enter_async_context(fluido(engine, more=OBSERVE))]
        if has_vllm_router():
            arms.append(await stack.enter_async_context(vllm_router(engine)))
        for arm in arms:
            await many(arm, 20, words=3)
        for at in range(rounds):
            for arm in arms if at % 2 == 0 else arms[::-1]:
                used = []
                for words in (10, 110):
                    before_s = arm.cpu_s()
                    heard = await many(arm, streams, words=words)
                    assert all(each.is_whole for each in heard)  # noqa: S101
                    used.append(arm.cpu_s() - before_s)
                event_us = (used[1] - used[0]) / (streams * 100) * 1e6
                call_ms = used[0] / streams * 1e3 - 10 * event_us / 1e3
                found.setdefault(arm.name, []).append((event_us, call_ms))
        memory = {arm.name: arm.rss_kib() // 1024 for arm in arms}
    return {
        name: {
            "event_us": [round(event, 1) for event, _ in pairs],
            "call_ms": [round(call, 2) for _, call in pairs],
            "median_event_us": round(median(event for event, _ in pairs), 1),
            "rss_mib": memory[name],
        }
        for name, pairs in found.items()
    }


async def added(calls: int = 300, *, neighbour: bool = False) -> dict[str, object]:
    """G2: time to the first byte through each gateway and direct, in turn, at about a tenth of the load."""
    prompt = SMALL * "x"
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(stub(first_s=0.002, gap_s=0.001, words=3))
        gateway = await stack.enter_async_context(fluido(engine))
        arms = [engine, gateway]
        if has_vllm_router():
            arms.append(await stack.enter_async_context(vllm_router(engine)))
        times: dict[str, list[float]] = {arm.name: [] for arm in arms}
        for arm in arms:
            await many(arm, WARM, words=3)
        loud = asyncio.ensure_future(_loud(gateway)) if neighbour else None
        for at in range(calls):
            for arm in arms[:: 1 if at % 2 else -1]:
                heard = await ask(arm.port, words=3, prompt=prompt)
                times[arm.name].append(heard.ttft_s * 1e3)
                await asyncio.sleep(0.01)
        if loud is not None:
            loud.cancel()
    direct = times.pop("direct")
    found: dict[str, object] = {"direct_ms": [round(percentile(direct, q), 3) for q in (50, 99)]}
    for name, through in times.items():
        more = [one - other for one, other in zip(through, direct, strict=True)]
        found[name] = {
            "added_ms_p50": round(median(through) - median(direct), 3),
            "added_ms_p99": round(percentile(through, 99) - percentile(direct, 99), 3),
            "paired_ms_p50": round(median(more), 3),
        }
    return found


async def _loud(gateway: Arm) -> None:
    while True:
        await ask(gateway.port, words=1, prompt=LARGE * "y")
        await asyncio.sleep(1.0)


async def open_streams(streams: int = 2000, gap_s: float = 0.2, words: int = 40) -> dict[str, object]:
    """G3: many open streams at once: none lost, the gaps between two words, memory of each."""
    found: dict[str, object] = {"streams": streams, "events_per_s": round(streams / gap_s)}
    async with stub(first_s=0.05, gap_s=gap_s) as engine, fluido(engine, more=OBSERVE) as gateway:
        for arm in (engine, gateway):
            await many(arm, WARM, words=3)
            before_kib, before_s, began_s = gateway.rss_kib(), gateway.cpu_s(), time.perf_counter()
            calls = asyncio.ensure_future(_spread(arm, streams, words, gap_s))
            await asyncio.sleep(gap_s * words * 0.6)
            grown_kib = (gateway.rss_kib() - before_kib) / streams
            heard = await calls
            gaps = [gap for each in heard for gap in each.gaps_s]
            name = arm.name
            found[name] = {
                "lost": sum(not each.is_whole for each in heard),
                "gap_ms_p50": round(percentile(gaps, 50) * 1e3, 1),
                "gap_ms_p99": round(percentile(gaps, 99) * 1e3, 1),
                "cores": round((gateway.cpu_s() - before_s) / (time.perf_counter() - began_s), 2),
                "kib_each": round(grown_kib, 1),
            }
    return found


async def _spread(arm: Arm, streams: int, words: int, gap_s: float) -> list[Heard]:
    """Begun over one gap, so that not all speak in one moment."""

    async def one(at: int) -> Heard:
        await asyncio.sleep(gap_s * 2 * at / streams)
        return await ask(arm.port, words=words)

    return list(await asyncio.gather(*map(one, range(streams))))


async def shares(calls: int = 500, keys: int = 8) -> dict[str, object]:
    """G7: one client asks everything at once, another one call at a time; then `keys` equal ones."""
    words, gap_s, slots = 5, 0.02, 4
    answer_s = words * gap_s + 0.01
    found: dict[str, object] = {"answer_s": answer_s}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(stub("ollama", slots=slots, first_s=0.01, gap_s=gap_s))
        gateway = await stack.enter_async_context(fluido(engine, more=_keys_of(stack, keys)))
        for arm in (engine, gateway):
            greedy = [
                asyncio.ensure_future(ask(arm.port, api="ollama", words=words, headers=_key(0)))
                for _ in range(calls)
            ]
            await asyncio.sleep(0.5)
            waits = []
            for _ in range(20 if arm is gateway else 2):  # direct one of them takes all of the time
                heard = await ask(arm.port, api="ollama", words=words, headers=_key(1))
                waits.append(heard.ttft_s)
            for call in greedy:
                call.cancel()
            await asyncio.gather(*greedy, return_exceptions=True)
            await asyncio.sleep(0.5)
            found[arm.name] = {"wait_in_answers_p95": round(percentile(waits, 95) / answer_s, 2)}
        served = await _equal(gateway, keys, words)
        found["jain"] = round(sum(served) ** 2 / (len(served) * sum(x * x for x in served)), 4)
        found["served"] = served
    return found


def _key(number: int) -> str:
    return f"authorization: Bearer key-{number}-of-the-bench-and-long-enough\r\n"


def _keys_of(stack: AsyncExitStack, count: int) -> tuple[str, ...]:
    """A file of keys."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    entries = []
    for number in range(count):
        secret = f"key-{number}-of-the-bench-and-long-enough"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        entries.append(f'[[key]]\nname = "k{number}"\nhash = "sha256:{digest}"\n')
    path = folder / "keys.toml"
    path.write_text("\n".join(entries))
    return ("--keys", str(path))


async def _equal(arm: Arm, keys: int, words: int, seconds: float = 8.0) -> list[int]:
    """Answers of each key in some seconds; each keeps another number of calls waiting."""
    served = [0] * keys
    end_s = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        while time.perf_counter() < end_s:
            heard = await ask(arm.port, api="ollama", words=words, headers=_key(number))
            served[number] += heard.is_whole and time.perf_counter() < end_s

    await asyncio.gather(*(caller(number) for number in range(keys) for _ in range(2 * (number + 1))))
    return served


async def titles(calls: int = 30) -> dict[str, object]:
    """G8: a person's chat beside a page's own tasks (titles, tags), of which two are always under way."""
    words, gap_s = 10, 0.02
    found: dict[str, object] = {}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(stub("ollama", slots=1, first_s=0.05, gap_s=gap_s))
        gateway = await stack.enter_async_context(fluido(engine, told=",slots=1"))
        for name, arm, beside in (
            ("alone", gateway, False),
            ("fluido", gateway, True),
            ("direct", engine, True),
        ):
            tasks = [asyncio.ensure_future(_title(arm, words)) for _ in range(2 if beside else 0)]
            await asyncio.sleep(1.0)
            heard = []
            for _ in range(calls):
                heard.append(await ask(arm.port, api="ollama", words=words))
                await asyncio.sleep(0.3)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            times = [each.ttft_s for each in heard]
            found[name] = {q: round(percentile(times, q), 3) for q in (50, 95)}
    return found


async def _title(arm: Arm, words: int) -> None:
    while True:
        await ask(arm.port, api="ollama", words=words, prompt="### Task:\nGenerate a concise title.")


async def leaves(count: int = 100) -> dict[str, object]:
    """G9: a client leaves during the prompt or the answer: how long the engine works on."""
    found: dict[str, object] = {}
    async with stub(first_s=0.2, gap_s=0.02, words=200) as engine, fluido(engine) as gateway:
        for arm in (engine, gateway):
            late = []
            for at in range(count):
                await ask(arm.port, words=200, leave_s=0.1 if at % 2 else 0.3)
                left_s = time.perf_counter()
                while (await _figures(engine))["inflight"] and time.perf_counter() - left_s < 2.0:  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
                late.append((time.perf_counter() - left_s) * 1e3)
            found[arm.name] = {
                "free_ms_p50": round(median(late), 1),
                "free_ms_max": round(max(late), 1),
                "within_100_ms": sum(each <= 100 for each in late),
            }
    return found


async def _figures(engine: Arm) -> dict[str, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
    writer.write(b"GET /figures HTTP/1.1\r\nhost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    writer.close()
    return dict(json.loads(body))


async def overload(seconds: float = 15.0, deadline_s: float = 2.0, tries: int = 4) -> dict[str, object]:
    """G10: twice what the engine can do, with deadlines: who is let in is in time, who is not is told.

    Who is refused comes back when he was told to, `tries` times in all.
    """
    words, gap_s, slots = 5, 0.04, 4
    answer_s = words * gap_s + 0.02
    rate = 2.0 * slots / answer_s
    heads = f"x-deadline-ms: {int(deadline_s * 1e3)}\r\n"
    in_time = late = 0
    refused_ms: list[float] = []
    ended: list[int] = []  # the try that was answered, 0: none
    async with stub("ollama", slots=slots, first_s=0.02, gap_s=gap_s) as engine, fluido(engine) as gateway:
        for _ in range(12):
            await many(gateway, slots, api="ollama", words=words)

        async def one() -> None:
            nonlocal in_time, late
            for at in range(1, tries + 1):
                heard = await ask(gateway.port, api="ollama", words=words, headers=heads)
                took_s = heard.ended_s - heard.sent_s
                if heard.status == 200:
                    is_in_time = heard.is_whole and heard.ttft_s <= deadline_s
                    in_time, late = in_time + is_in_time, late + (not is_in_time)
                    ended.append(at)
                    return
                if took_s > deadline_s / 2:
                    late += 1  # it was let wait, and in vain
                else:
                    refused_ms.append(took_s * 1e3)
                await asyncio.sleep(heard.retry_after_s)
            ended.append(0)

        calls, end_s = [], time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            calls.append(asyncio.ensure_future(one()))
            await asyncio.sleep(1.0 / rate)
        await asyncio.gather(*calls)
    return {
        "calls": len(ended),
        "let_in": in_time + late,
        "in_time_share": round(in_time / max(1, in_time + late), 4),
        "refused": len(refused_ms),
        "refused_ms": [round(percentile(refused_ms, q), 1) for q in (50, 99)],
        "answered_share": round(mean(each > 0 for each in ended), 3),
        "at_first_try": round(mean(each == 1 for each in ended), 3),
    }
