"""`python -m bench.gate_cost`: what a gate and a limiter add to a call when nothing waits.

Arms alternate in one process, beside an asyncio.Semaphore, in CPU time, so that neighbours on the machine
count little; the median of the rounds counts. Also 100,000 waiters: the memory of each, and the time to
cancel one anywhere in the queue.
"""

import argparse
import asyncio
import gc
import json
import random
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Callable

from fluido import Fixed, Gate, Limiter
from fluido.laws import Ladder

Arm = Callable[[int], Awaitable[None]]
BUDGET_US = 3.0


def arms() -> dict[str, Arm]:
    """Each runs `count` empty calls one after the other."""
    semaphore = asyncio.Semaphore(10)
    gate = Gate(10, max_waiting=10)
    fixed = Limiter(Fixed(10), name="fixed", max_waiting=10)
    adaptive = Limiter(Ladder(start=10, ceiling=100), name="ladder", max_waiting=10)

    async def with_semaphore(count: int) -> None:
        for _ in range(count):
            async with semaphore:
                pass

    async def with_gate(count: int) -> None:
        for _ in range(count):
            await gate.acquire()
            gate.release()

    def with_limiter(limiter: Limiter) -> Arm:
        async def run(count: int) -> None:
            for _ in range(count):
                async with limiter.permit():
                    pass

        return run

    return {
        "asyncio.Semaphore": with_semaphore,
        "Gate": with_gate,
        "Limiter, Fixed": with_limiter(fixed),
        "Limiter, Ladder": with_limiter(adaptive),
    }


async def cost_us(rounds: int, count: int) -> dict[str, float]:
    """Median microseconds a call of each arm."""
    taken: dict[str, list[float]] = {name: [] for name in arms()}
    running = arms()
    for _ in range(rounds):
        for name, arm in running.items():
            began_s = time.process_time()
            await arm(count)
            taken[name].append((time.process_time() - began_s) / count * 1e6)
    return {name: statistics.median(values) for name, values in taken.items()}


async def waiters(count: int) -> dict[str, float]:
    """Bytes a waiter (with its task), beside a Semaphore's, and microseconds to cancel one at random."""
    found: dict[str, float] = {}
    for name in ("Gate", "asyncio.Semaphore"):
        gc.collect()
        gate = Gate(1, max_waiting=count)
        semaphore = asyncio.Semaphore(1)
        wait = gate.acquire if name == "Gate" else semaphore.acquire
        await wait()
        tracemalloc.start()
        tasks = [asyncio.ensure_future(wait()) for _ in range(count)]
        await asyncio.sleep(0)
        found[f"{name}: bytes a waiter"] = tracemalloc.get_traced_memory()[0] / count
        tracemalloc.stop()
        order = list(range(count))
        random.Random(1).shuffle(order)
        sample = order[: count // 100]
        began_s = time.process_time()
        for index in sample:
            tasks[index].cancel()
            await asyncio.sleep(0)
        found[f"{name}: us to cancel one"] = (time.process_time() - began_s) / len(sample) * 1e6
        for task in tasks:
            task.cancel()
        began_s = time.process_time()
        await asyncio.gather(*tasks, return_exceptions=True)
        found[f"{name}: s to cancel the rest"] = time.process_time() - began_s
    return found


def main(argv: list[str] | None = None) -> int:
    """Print the figures; exit 1 when the limiter costs more than 3 us beside the Semaphore."""
    parser = argparse.ArgumentParser(prog="bench.gate_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--waiters", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    wishes = parser.parse_args(argv)
    costs = asyncio.run(cost_us(wishes.rounds, wishes.calls))
    added = {f"{name}: us beside Semaphore": us - costs["asyncio.Semaphore"] for name, us in costs.items()}
    figures = {f"{name}: us a call": us for name, us in costs.items()} | added
    figures |= asyncio.run(waiters(wishes.waiters))
    if wishes.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:45s} {value:12.3f}")
    return 1 if added["Limiter, Fixed: us beside Semaphore"] > BUDGET_US else 0


if __name__ == "__main__":
    raise SystemExit(main())
