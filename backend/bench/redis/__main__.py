"""`python -m bench.redis`: interleaved blocks of every client in every cell, with a server of its own.

python -m bench.redis --out results/redis               # uvloop, all cells, some 4 minutes
python -m bench.redis --loop asyncio --cells loads      # part of it
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop

import embedded
from bench.environment import describe
from bench.redis import report, service
from bench.redis.cells import Cell, fill, may_collect, run
from bench.redis.contenders import Contender, contenders
from fluido.redis.benchmark import Block

LOADS = [Cell(f"GET 64 B, {tasks} tasks", tasks) for tasks in (1, 16, 64, 256, 1024)]
SIZES = [
    Cell("GET 1 KB, 64 tasks", 64, 1 << 10),
    Cell("GET 10 KB, 64 tasks", 64, 10 << 10),
    Cell("mixed 64 B, 64 tasks", 64, mixed=True),
    Cell("GET 64 B, 1 % cancelled", 64, cancel_percent=1),
]
SERVICE = [Cell("service: 3 GET + 1 SET", service.CONNECTIONS)]
FAR = [Cell("1 ms away, 256 tasks", 256, delay_ms=1.0), Cell("10 ms away, 256 tasks", 256, delay_ms=10.0)]
GROUPS = {"loads": LOADS, "sizes": SIZES, "service": SERVICE, "far": FAR}

Blocks = dict[str, dict[str, list[Block]]]


@contextlib.contextmanager
def far_away(port: int, delay_ms: float) -> Iterator[int]:
    """The port of a slow link to `port`; the same port without a delay."""
    if not delay_ms:
        yield port
        return
    command = [sys.executable, "-m", "bench.redis.far", str(port), str(delay_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int((process.stdout or sys.stdin).readline())
        finally:
            process.kill()


async def measure(cell: Cell, contender: Contender, block_s: float) -> Block:
    """One block of one contender."""
    if cell in SERVICE:
        return await service.serve(contender, block_s)
    return await run(cell, contender, block_s)


async def interleave(port: int, cells: list[Cell], rounds: int, block_s: float) -> Blocks:
    """Every client in turn, beginning with another one each round. The first round warms up."""
    blocks: Blocks = {}
    for cell in cells:
        with far_away(port, cell.delay_ms) as near_port:
            async with contenders(near_port) as everybody:
                await fill(everybody[0], cell.value_bytes)
                collects = may_collect(cell) and cell not in SERVICE
                arms = [arm for arm in everybody if collects or arm.get_many is None]
                found: dict[str, list[Block]] = {arm.name: [] for arm in arms}
                for round_number in range(rounds + 1):
                    at = round_number % len(arms)
                    for arm in arms[at:] + arms[:at]:
                        block = await measure(cell, arm, block_s if round_number else min(0.1, block_s))
                        if round_number:
                            found[arm.name].append(block)
        blocks[cell.name] = found
        print(f"  {cell.name}: done", file=sys.stderr, flush=True)
    return blocks


def pin(server: embedded.Redis) -> None:
    """This process on the first core and the server on the last.

    They do not push each other about then, but every reply wakes the other core: under virtualisation that
    costs some 50 us, which hides what a client does with one task.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1 and server.child is not None and server.child.pid is not None:
        os.sched_setaffinity(0, {cores[0]})
        os.sched_setaffinity(server.child.pid, {cores[-1]})


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--cells", choices=GROUPS, action="append")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--block-s", type=float, default=0.4)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pin", action="store_true", help="client and server on a core each")
    arguments = parser.parse_args()
    cells = [cell for group in arguments.cells or GROUPS for cell in GROUPS[group]]
    run_loop = uvloop.run if arguments.loop == "uvloop" else asyncio.run
    with tempfile.TemporaryDirectory() as folder:
        server = embedded.Redis(Path(folder), password="", settings={"save": '""'})
        server.start()
        try:
            if arguments.pin:
                pin(server)
            blocks = run_loop(interleave(server.port, cells, arguments.rounds, arguments.block_s))
            environment = describe((server.describe().partition(",")[0],))
        finally:
            server.stop()
    found = report.rows(blocks)
    print(f"{arguments.loop}, {environment.python}, {environment.cpu}, commit {environment.commit[:10]}")
    print(report.table(found))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        command = " ".join(["python -m bench.redis", *sys.argv[1:]])
        report.write(found, environment, arguments.out / f"redis-{arguments.loop}.json", command=command)
        title = f"{arguments.loop}, {environment.python}, commit {environment.commit[:10]}"
        report.picture(found, arguments.out / f"redis-{arguments.loop}.png", title)


if __name__ == "__main__":
    main()
