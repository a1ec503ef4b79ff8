"""`python -m fluido.redis redis://localhost:6379/0`: what sharing a connection is worth on your server."""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence

from redis.exceptions import RedisError

from fluido.redis.benchmark import OURS, STOCK, Block, compare, ratio


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fluido.redis", description=__doc__)
    parser.add_argument("url", nargs="?", default="redis://localhost:6379/0")
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--bytes", type=int, default=64, help="size of a value")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--block-s", type=float, default=0.4, help="seconds a client is measured at a time")
    wishes = parser.parse_args(argv)
    if min(wishes.tasks) < 1 or wishes.bytes < 1 or wishes.rounds < 1 or not 0 < wishes.block_s <= 60:
        parser.error("tasks, bytes and rounds must be at least 1, --block-s between 0 and 60")
    return wishes


def table(tasks: int, blocks: dict[str, list[Block]]) -> str:
    """Both clients at one number of tasks, the medians of their blocks, and the ratios."""
    lines = []
    for name, found in blocks.items():
        rate = statistics.median(block.rate for block in found)
        p50_ms, p99_ms = (1e3 * statistics.median(b.latency_s(q) for b in found) for q in (0.5, 0.99))
        cpu_us = statistics.median(block.cpu_us for block in found)
        lines.append(f"{tasks:5d}  {name:14s} {rate:10,.0f} {p50_ms:8.2f} {p99_ms:8.2f} {cpu_us:8.1f}")
    ours, stock = blocks[OURS], blocks[STOCK]
    more = ratio([block.rate for block in ours], [block.rate for block in stock])
    less = ratio([block.cpu_us for block in stock], [block.cpu_us for block in ours])
    lines.append(
        f"       {more[0]:.2f} times the calls [{more[1]:.2f} to {more[2]:.2f}], "
        f"{less[0]:.2f} times less CPU a call [{less[1]:.2f} to {less[2]:.2f}]"
    )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """0, or 1 with a sentence when the server cannot be used."""
    wishes = arguments(argv)
    print("tasks  client            calls/s   p50 ms   p99 ms   CPU us   (medians of blocks)")
    try:
        for tasks in wishes.tasks:
            run = compare(
                wishes.url,
                tasks=tasks,
                value_bytes=wishes.bytes,
                rounds=wishes.rounds,
                block_s=wishes.block_s,
            )
            print(table(tasks, asyncio.run(run)), flush=True)
    except (RedisError, OSError, ValueError) as error:
        print(f"{wishes.url} cannot be measured: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
