"""`python -m bench.soak`: 200 streams at a time for an hour; what a replica holds must not grow.

Memory, descriptors and threads of each replica are read from outside every few seconds, its tasks from its
live page. After a warm-up each series gets a slope per hour with its 95 % interval (blocks of readings, so
that neighbours that resemble each other do not make it look surer than it is). Exit code 1 when a slope is
surely above its bound.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from scipy import stats

from bench.environment import describe
from bench.faults.people import People
from bench.faults.record import UNPLAYABLE, played
from bench.faults.scene import ROOT, Scene

STREAMS = 200
READ_S = 2.0
TELL_S = 300.0
BLOCKS = 10
WARM_UP = 0.25
"""The share of the run that is not judged: caches, pools and arenas fill up."""
BOUND_PER_HOUR = {"memory_mib": 20.0, "descriptors": 20.0, "threads": 4.0, "tasks": 40.0}
STEP = {"memory_mib": 8.0, "descriptors": 8.0, "threads": 2.0, "tasks": 20.0}
"""What one burst may leave behind for good (an arena, a cache that fills): no leak, however short the run."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one replica holds at one moment."""

    at_s: float
    replica: str
    memory_mib: float
    descriptors: float
    threads: float
    tasks: float


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per hour with its 95 % interval."""

    replica: str
    series: str
    per_hour: float
    low: float
    high: float
    mean: float
    hours: float

    @property
    def bound(self) -> float:
        """What is tolerated an hour: the bound, or in a short run what makes one step of its length."""
        return max(BOUND_PER_HOUR[self.series], STEP[self.series] / self.hours)

    @property
    def grows(self) -> bool:
        """Whether even the low end of the interval is above what is tolerated."""
        return self.low > self.bound


def slope(replica: str, series: str, at_s: Sequence[float], values: Sequence[float]) -> Slope:
    """Least squares over the means of `BLOCKS` equal stretches; at least as many readings are needed."""
    if len(at_s) < BLOCKS:
        raise ValueError(f"{len(at_s)} readings are too few for {BLOCKS} blocks")
    times = [float(np.mean(part)) / 3600 for part in np.array_split(np.asarray(at_s), BLOCKS)]
    means = [float(np.mean(part)) for part in np.array_split(np.asarray(values), BLOCKS)]
    fit = stats.linregress(times, means)
    # a series that never moved has no error to speak of
    error = float(fit.stderr) if min(means) < max(means) else 0.0
    reach = float(stats.t.ppf(0.975, BLOCKS - 2)) * error
    growth = float(fit.slope)
    hours = (max(at_s) - min(at_s)) / 3600
    return Slope(replica, series, growth, growth - reach, growth + reach, float(np.mean(values)), hours)


def judged(readings: Sequence[Reading]) -> list[Slope]:
    """One slope for each replica and series, after the warm-up."""
    ends_s = max(reading.at_s for reading in readings)
    late = [reading for reading in readings if reading.at_s >= ends_s * WARM_UP]
    return [
        slope(
            replica,
            series,
            [reading.at_s for reading in late if reading.replica == replica],
            [getattr(reading, series) for reading in late if reading.replica == replica],
        )
        for replica in sorted({reading.replica for reading in late})
        for series in BOUND_PER_HOUR
    ]


async def count_tasks(url: str, tasks: dict[str, int]) -> None:
    """Keep `tasks[url]` at what the live page of a replica shows."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=1 << 20) as session,
        session.get(f"{url}/panel/events") as reply,
    ):
        reply.raise_for_status()
        event = b""
        async for line in reply.content:
            if line.startswith(b"event: "):
                event = line[7:].strip()
            elif line.startswith(b"data: ") and event == b"frame":
                tasks[url] = json.loads(line[6:])["tasks"]


async def watch(scene: Scene, people: People, readings: list[Reading]) -> None:
    tasks: dict[str, int] = {}
    async with asyncio.TaskGroup() as group:
        for replica in scene.topology.replicas:
            group.create_task(count_tasks(replica.url, tasks))
        group.create_task(read(scene, people, readings, tasks))


async def read(scene: Scene, people: People, readings: list[Reading], tasks: Mapping[str, int]) -> None:
    tell_s = TELL_S
    while True:
        if people.now_s >= tell_s:
            tell_s += TELL_S
            say_where(people.now_s, readings)
        for replica in scene.topology.replicas:
            if replica.child is not None and replica.child.pid is not None and replica.url in tasks:
                process = psutil.Process(replica.child.pid)
                readings.append(
                    Reading(
                        people.now_s,
                        replica.name,
                        process.memory_info().rss / (1 << 20),
                        process.num_fds(),
                        process.num_threads(),
                        tasks[replica.url],
                    )
                )
        await asyncio.sleep(READ_S)


def say_where(now_s: float, readings: Sequence[Reading]) -> None:
    """One line while an hour goes by."""
    last = {reading.replica: reading for reading in readings}
    held = ", ".join(f"{name} {one.memory_mib:.0f} MiB" for name, one in sorted(last.items()))
    print(f"{now_s / 60:3.0f} min: {held}", flush=True)


async def play(duration_s: float) -> dict[str, Any]:
    readings: list[Reading] = []
    print(f"{STREAMS} streams for {duration_s / 60:.0f} minutes; judged at the end", flush=True)
    async with Scene(needs_disk=False, needs_clock=False) as scene:
        people = People(scene.topology.url, seed=1, patience_s=60.0)
        await people.open()
        watching = asyncio.create_task(watch(scene, people, readings))
        try:
            rate = await people.crew(STREAMS, duration_s)
            if watching.done():
                await watching  # it ends by an error only: what was not read cannot be judged
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await people.close()
    slopes = judged(readings)
    failed = Counter(one.error for one in people.notes.tries if one.error)
    record = {
        "environment": asdict(describe()),
        "streams": STREAMS,
        "duration_s": duration_s,
        "messages_per_s": rate,
        "requests": len(people.notes.tries),
        "failed": dict(failed.most_common()),
        "left_over": scene.left_over(),
        "slopes": [asdict(one) | {"grows": one.grows} for one in slopes],
        "readings": [asdict(reading) for reading in readings],
    }
    print(f"{STREAMS} streams, {duration_s:.0f} s, {rate:.1f} messages/s, {failed.total()} failed requests")
    for error, times in failed.most_common():
        print(f"  {error} x{times}")
    tell(slopes)
    return record


def tell(slopes: Sequence[Slope]) -> None:
    for one in slopes:
        print(
            f"{one.replica:10} {one.series:12} {one.mean:8.1f} on average, {one.per_hour:+8.2f} an hour "
            f"(95 %: {one.low:+.2f} to {one.high:+.2f}; bound {one.bound:.0f})"
            f"{'  GROWS' if one.grows else ''}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--short", action="store_true", help="five minutes instead of an hour")
    parser.add_argument("--seconds", type=float, default=0.0, help="another length")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak", help="folder (%(default)s)")
    wishes = parser.parse_args()
    duration_s = wishes.seconds or (300.0 if wishes.short else 3600.0)
    record = played(play(duration_s), wishes.out / "soak.json")
    if record is None:
        return UNPLAYABLE
    return 1 if any(one["grows"] for one in record["slopes"]) else 0


if __name__ == "__main__":
    sys.exit(main())
