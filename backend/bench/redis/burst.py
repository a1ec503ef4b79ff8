"""What the adaptive window is for: `python -m bench.redis.burst`.

Eight callers beside one that gathers 2,000 GETs under a label of its own. Two clients of the same class, with
the window and with none, in turn; p99 of the eight and the time of a gather.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

import embedded
from bench.statistics import Mean, compare
from fluido.flow.label import label
from fluido.redis import Redis, Sharing

INTERACTIVE = 8
GATHERED = 2000
ADAPTIVE = Sharing(window_floor=256)
PAUSE_S = 0.1


async def block(client: Redis, duration_s: float) -> tuple[list[float], list[float]]:
    """Latencies of the interactive callers, and how long each gather took."""
    until_s = time.perf_counter() + duration_s
    latencies: list[float] = []
    gathers: list[float] = []

    async def interact() -> None:
        while (begun_s := time.perf_counter()) < until_s:
            await client.get("k")
            latencies.append(time.perf_counter() - begun_s)
            await asyncio.sleep(0.001)

    async def gather() -> None:
        while (begun_s := time.perf_counter()) < until_s:
            with label("report"):
                await asyncio.gather(*[client.get("k") for _ in range(GATHERED)])
            gathers.append(time.perf_counter() - begun_s)
            await asyncio.sleep(PAUSE_S)

    await asyncio.gather(gather(), *[interact() for _ in range(INTERACTIVE)])
    return latencies, gathers


def p99(values: Sequence[float]) -> float:
    """The 99th of a hundred."""
    return sorted(values)[int(0.99 * len(values))]


async def main(port: int, rounds: int, block_s: float) -> None:
    """Interleave, compare, print."""
    clients = {"no window": Redis(port=port), "adaptive window": Redis(port=port, sharing=ADAPTIVE)}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
    await clients["no window"].set("k", b"v" * 64)
    for client in clients.values():
        await block(client, 2.0)  # the law needs a second of traffic before it speaks
    for round_number in range(rounds):
        order = list(clients.items())
        for name, client in order if round_number % 2 else order[::-1]:
            latencies, gathers = await block(client, block_s)
            seen[name].append((p99(latencies), sum(gathers) / len(gathers)))
    for at, what in enumerate(("p99 of 8 callers", "a gather of 2,000")):
        without, adaptive = ([[pair[at]] for pair in seen[name]] for name in clients)
        ratio = compare(without, adaptive, Mean(), seed=1)
        means = [sum(x[0] for x in arm) / len(arm) * 1e3 for arm in (without, adaptive)]
        print(
            f"{what}: {means[0]:.1f} ms without, {means[1]:.1f} ms with the window: "
            f"{ratio.ratio:.2f}x better [{ratio.low:.2f}, {ratio.high:.2f}], {ratio.blocks} blocks"
        )
    stats = clients["adaptive window"].stats()
    print(f"window {stats.value:.0f}, reasons {dict(stats.reasons)}")
    for client in clients.values():
        await client.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--block-s", type=float, default=2.0)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = embedded.Redis(Path(folder), password="")
        server.start()
        try:
            run = uvloop.run if arguments.loop == "uvloop" else asyncio.run
            run(main(server.port, arguments.rounds, arguments.block_s))
        finally:
            server.stop()
