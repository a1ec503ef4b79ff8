"""`python -m bench.faults.viewers`: what the live page costs a replica, blocks with and without who looks.

The processor time of one replica is read before and after each block; blocks alternate, so that what the
machine does besides falls on both. The cost is the median difference of neighbours, in percent of one core.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import aiohttp
import psutil

from bench.environment import describe
from bench.faults.people import People
from bench.faults.record import UNPLAYABLE, played
from bench.faults.scene import ROOT, Scene

VIEWERS = 5
BLOCK_S = 10.0
PAIRS = 6
SETTLE_S = 1.5
"""The first frame of a page is its history, once."""
RATE_PER_S = 4.0
"""Messages of the loaded comparison."""
BOUND_PERCENT = 1.0


class Page:
    """One open page. `frames` grows with what it was shown."""

    def __init__(self) -> None:
        self.frames = 0

    async def look(self, session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(f"{url}/panel/events") as reply:
            reply.raise_for_status()
            async for line in reply.content:
                self.frames += line.startswith(b"event: frame")


@asynccontextmanager
async def looking(url: str, count: int) -> AsyncIterator[list[Page]]:
    """`count` pages that look until the block ends."""
    pages = [Page() for _ in range(count)]
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        tasks = [asyncio.create_task(page.look(session, url)) for page in pages]
        try:
            yield pages
            for task in tasks:
                if task.done():
                    await task  # a page that was not shown anything is an error and no saving
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def percent(process: psutil.Process, block_s: float) -> float:
    """The processor time of a block in percent of one core."""
    loop = asyncio.get_running_loop()
    before, began_s = process.cpu_times(), loop.time()
    await asyncio.sleep(block_s)
    after = process.cpu_times()
    used_s = float(after.user + after.system - before.user - before.system)
    return 100 * used_s / (loop.time() - began_s)


async def compare(
    url: str, process: psutil.Process, *, viewers: int, block_s: float, pairs: int
) -> Mapping[str, object]:
    """Blocks without and with viewers in turn, the order changed from pair to pair."""
    without: list[float] = []
    shown: list[float] = []
    frames = 0
    for pair in range(pairs):
        for is_looking in (False, True) if pair % 2 == 0 else (True, False):
            async with AsyncExitStack() as stack:
                pages = await stack.enter_async_context(looking(url, viewers if is_looking else 0))
                await asyncio.sleep(SETTLE_S)
                (shown if is_looking else without).append(await percent(process, block_s))
                frames += sum(page.frames for page in pages)
    cost = [after - before for before, after in zip(without, shown, strict=True)]
    return {
        "without_percent": [round(one, 3) for one in without],
        "with_percent": [round(one, 3) for one in shown],
        "cost_percent": round(statistics.median(cost), 3),
        "cost_low": round(min(cost), 3),
        "cost_high": round(max(cost), 3),
        "frames": frames,
    }


async def play(viewers: int, block_s: float, pairs: int, out: Path) -> dict[str, object]:
    async with Scene(needs_disk=False, needs_clock=False, logs=out / "log") as scene:
        replica = scene.topology.replicas[0]
        assert replica.child is not None  # noqa: S101 - the topology runs
        process = psutil.Process(replica.child.pid)
        kinds = {"viewers": viewers, "block_s": block_s, "pairs": pairs}
        idle = await compare(replica.url, process, viewers=viewers, block_s=block_s, pairs=pairs)
        people = People(replica.url, seed=1, patience_s=60.0)
        await people.open()
        # a fixed rate: people who ask without a pause would use what the page leaves
        lasting_s = 2 * pairs * (block_s + SETTLE_S) + 10.0
        offsets = [number / RATE_PER_S for number in range(int(lasting_s * RATE_PER_S))]
        asking = asyncio.create_task(people.come(offsets))
        try:
            busy = await compare(replica.url, process, viewers=viewers, block_s=block_s, pairs=pairs)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await people.close()
    return {"environment": asdict(describe()), **kinds, "quiet": idle, "under_load": busy}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults.viewers", description=__doc__)
    parser.add_argument("--viewers", type=int, default=VIEWERS, help="pages (%(default)s)")
    parser.add_argument("--block", type=float, default=BLOCK_S, help="seconds (%(default)s)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of blocks (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "faults", help="folder (%(default)s)")
    wishes = parser.parse_args()
    record = played(play(wishes.viewers, wishes.block, wishes.pairs, wishes.out), wishes.out / "viewers.json")
    if record is None:
        return UNPLAYABLE
    for name in ("quiet", "under_load"):
        print(name, record[name])
    quiet = record["quiet"]
    assert isinstance(quiet, dict)  # noqa: S101 - play() says so
    return 0 if quiet["cost_percent"] < BOUND_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main())
