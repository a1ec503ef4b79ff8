"""`python -m embedded` keeps the ground up, prints its addresses and stops it on Ctrl-C."""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from embedded.errors import GroundError
from embedded.ground import Stack


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m embedded", description=__doc__)
    parser.add_argument(
        "--data-dir", type=Path, default=Path(".sentinel"), help="kept between runs (%(default)s)"
    )
    parser.add_argument("--engine", choices=("smollm2", "synthetic", "ollama", "none"), default="smollm2")
    parser.add_argument("--fresh", action="store_true", help="forget the data of earlier runs")
    return parser.parse_args()


def say(line: str) -> None:
    print(line, flush=True)


async def keep(wishes: argparse.Namespace) -> None:
    began = time.perf_counter()
    engine = None if wishes.engine == "none" else wishes.engine
    async with Stack(data_dir=wishes.data_dir, engine=engine, fresh=wishes.fresh, say=say) as ground:
        for line in ground.describe():
            say(line)
        for line in ground.shells():
            say(line)
        say(f"DATABASE_URL={ground.database_url}")
        say(f"REDIS_URL={ground.redis_url}")
        if engine is not None:
            say(f"OLLAMA_URL={ground.engine_url}")
        say(f"ready in {time.perf_counter() - began:.1f} s; Ctrl-C stops everything")
        await asyncio.get_running_loop().create_future()


async def until_told(wishes: argparse.Namespace) -> None:
    """A signal cancels the run, which stops everything in order; a second signal does not hurry it."""
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(keep(wishes))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        say("stopped")


def main() -> int:
    try:
        asyncio.run(until_told(arguments()))
    except GroundError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
