"""`python -m bench.postgres`: every experiment on an embedded PostgreSQL, arms interleaved.

The components take about six minutes (the default); `limits`, `steps`, `fleet` and `loads` are asked for by
name and take some minutes each (`--short`: about half), `drift` takes ten.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from bench.environment import describe
from bench.postgres import bursts, fleet, limits, report, scans, waiting, writes
from bench.postgres.ground import database
from bench.postgres.record import Measured

Experiment = Callable[[str, argparse.Namespace], AsyncIterator[Measured]]

EXPERIMENTS: dict[str, Experiment] = {
    "waiting": lambda url, given: waiting.waiting(
        url, tasks=100, size=10, blocks=given.blocks, block_s=given.block_s
    ),
    "crowd": lambda url, given: waiting.waiting(
        url, tasks=400, size=15, blocks=given.blocks, block_s=given.block_s
    ),
    "inserts": lambda url, given: writes.inserts(url, tasks=256, blocks=given.blocks, block_s=1.0),
    "one-insert": lambda url, given: writes.inserts(url, tasks=1, blocks=given.blocks, block_s=0.5),
    "scans": lambda url, given: scans.scans(url, blocks=given.blocks),
    "one-caller": lambda url, given: writes.one_caller(url, blocks=3 * given.blocks, calls=300),
    "lanes": lambda url, given: bursts.lanes(url, blocks=given.blocks, block_s=2 * given.block_s),
    "hot-rows": lambda url, given: bursts.hot_rows(url, cycles=1, blocks=given.blocks),
}
LONG: dict[str, Experiment] = {
    "limits": lambda url, given: limits.limits(url, length(given)),
    "steps": lambda url, given: limits.steps(url, length(given)),
    "fleet": lambda url, given: fleet.fleet(
        url, sweep_s=4 * length(given).static_s, run_s=2 * length(given).phase_s
    ),
    "loads": lambda url, given: bursts.loads(url, blocks=given.blocks, block_s=2 * given.block_s),
    "drift": lambda url, given: limits.drift(url, given.drift_s),
}


def length(given: argparse.Namespace) -> limits.Length:
    """Of the experiments with a sweep."""
    return limits.SHORT if given.short else limits.Length()


async def run(given: argparse.Namespace) -> list[Measured]:
    """All chosen experiments, one after the other, on one server."""
    measured: list[Measured] = []
    async with database() as url:
        for name in given.only or EXPERIMENTS:
            sys.stderr.write(f"{name} ...\n")
            measured += [row async for row in (EXPERIMENTS | LONG)[name](url, given)]
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print the tables, and write them with all blocks and a picture if asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres", description=__doc__)
    known = [*EXPERIMENTS, *LONG]
    parser.add_argument("--only", nargs="*", choices=known, help="experiments (default: the components)")
    parser.add_argument("--blocks", type=int, default=5, help="interleaved blocks an arm (default 5)")
    parser.add_argument("--block-s", type=float, default=2.0, help="seconds a block (default 2)")
    parser.add_argument("--short", action="store_true", help="fewer and shorter cells in a sweep")
    parser.add_argument("--drift-s", type=float, default=600.0, help="seconds of `drift` (default 600)")
    parser.add_argument("--out", type=Path, help="write NAME.json, NAME.md and NAME.png")
    given = parser.parse_args(arguments)
    environment = describe()
    measured = asyncio.run(run(given))
    chosen = f" --only {' '.join(given.only)}" if given.only else ""
    short = " --short" if given.short else ""
    command = f"python -m bench.postgres{chosen}{short} --blocks {given.blocks} --block-s {given.block_s:g}"
    text = report.text(environment, measured, command=command)
    sys.stdout.write(text)
    if given.out is not None:
        report.save(given.out.with_suffix(".json"), environment, measured, command=command)
        given.out.with_suffix(".md").write_text(text)
        title = f"python -m bench.postgres, commit {environment.commit[:12]}"
        report.picture(given.out.with_suffix(".png"), measured, title=title)


if __name__ == "__main__":
    main()
