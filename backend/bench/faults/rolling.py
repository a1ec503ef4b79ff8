"""`python -m bench.faults.rolling` restarts replica after replica until 2,000 requests are through.

Exit code 1 when a request failed, or a message is lost, doubled or out of order. Nothing is repeated by the
people here without being counted: every request that was not answered the first time is a failed one.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bench.environment import describe
from bench.faults.faults import roll
from bench.faults.people import People
from bench.faults.record import UNPLAYABLE, played
from bench.faults.run import stored
from bench.faults.scene import ROOT, Scene

REQUESTS = 2_000
CREW = 8
"""People who ask without a pause."""
SEED = 20261122


async def play(requests: int, crew: int, out: Path) -> Mapping[str, object]:
    """Restart replica after replica under load; return the record."""
    rolls = 0
    async with Scene(needs_disk=False, needs_clock=False, logs=out / "log") as scene:
        people = People(scene.topology.url, seed=SEED)
        await people.open()

        async def restart() -> None:
            nonlocal rolls
            while True:
                await roll(scene)
                rolls += 1

        restarting = asyncio.create_task(restart())
        try:
            while len(people.notes.tries) < requests:
                if restarting.done():
                    await restarting  # it ends by an error only
                await people.crew(crew, 2.0)
            took_s = people.now_s
        finally:
            restarting.cancel()
            with suppress(asyncio.CancelledError):
                await restarting
            await people.close()
        verdict = await stored(scene, people)
    failed = Counter(one.error for one in people.notes.tries if one.error)
    return {
        "environment": asdict(describe()),
        "requests": len(people.notes.tries),
        "failed": sum(failed.values()),
        "by_code": dict(failed),
        "whole_rolls": rolls,
        "seconds": round(took_s, 1),
        "verdict": asdict(verdict),
        "left_over": scene.left_over(),
        "holds": not failed and verdict.holds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults.rolling", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="at least (%(default)s)")
    parser.add_argument("--crew", type=int, default=CREW, help="people who ask at a time (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "faults", help="folder (%(default)s)")
    wishes = parser.parse_args()
    record = played(play(wishes.requests, wishes.crew, wishes.out), wishes.out / "rolling.json")
    if record is None:
        return UNPLAYABLE
    print(
        f"{record['failed']} failed of {record['requests']} requests in {record['seconds']} s, "
        f"{record['whole_rolls']} whole rolls of both replicas; by code {record['by_code']}"
    )
    return 0 if record["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
