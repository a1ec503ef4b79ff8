"""`python -m bench.knobs`: what adapts besides the limits, against its constants, on a quiet and a busy day.

**fetch**: rows a block of a cursor (laws/fetch), narrow rows and rows of 20 KB, near and 20 ms away.
**gap**: the least time between two pieces of a stream (laws/stream_gap), few streams and more than the loop
can send one by one, through Sentinel's own event stream and uvicorn, read by another process.
A law stays where it is in each cell at most a little worse than the best constant, and over all cells better
than each. Arms take turns.
"""

import argparse
import asyncio
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

import sqlalchemy as sa
import uvicorn
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Receive, Scope, Send

from app.api.pace import Pace
from app.api.responses import EventStream
from app.core.drain import Drain
from app.core.ports import Accepted, ChatEvent, TextDelta
from bench.environment import describe
from bench.postgres.ground import database, headline
from bench.postgres.scans import slow_line
from fluido.laws import Fetch, Fixed, Law, StreamGap
from fluido.sqlalchemy import Limits, RowStreams, create_async_engine

Cells = dict[str, dict[str, list[float]]]
"""Cell -> arm -> one value a block; less is better."""

NARROW = "SELECT n, 'row number ' || n AS name FROM generate_series(1, {rows}) AS n"
WIDE = "SELECT n, repeat(md5(n::text), 625) AS body FROM generate_series(1, {rows}) AS n"
AWAY_S = 0.010  # one way
FETCHES = {
    "narrow, near": (NARROW.format(rows=60_000), 0.0),
    "narrow, 20 ms away": (NARROW.format(rows=20_000), AWAY_S),
    "20 KB, near": (WIDE.format(rows=1_500), 0.0),
    "20 KB, 20 ms away": (WIDE.format(rows=1_000), AWAY_S),
}
BLOCKS_OF = (100, 400, 2000)


class Held(Fetch):
    """So many rows a block, whatever they are."""

    def __init__(self, rows: int) -> None:
        super().__init__(target_bytes=1e12)
        self._rows = float(rows)

    @property
    def value(self) -> float:
        """Always the same."""
        return self._rows

    @property
    def hard_rows(self) -> float:
        """No bound."""
        return math.inf


class HeldStreams(RowStreams):
    """Streams whose blocks have so many rows."""

    def __init__(self, engine: AsyncEngine, rows: int) -> None:
        super().__init__(engine)
        self._rows = rows

    def known(self, label: str) -> tuple[Fetch, object]:  # type: ignore[override]
        """A constant, in place of what was learned."""
        _, transfer = super().known(label)
        return Held(self._rows), transfer


async def fetches(blocks: int) -> tuple[Cells, dict[str, float]]:
    """Seconds to read a result; and bytes of the largest block, of each arm."""
    cells: Cells = {}
    largest: dict[str, float] = {}
    async with database() as url:
        for name, (query, one_way_s) in FETCHES.items():
            async with slow_line(url, one_way_s=one_way_s) as line:
                engine = create_async_engine(line if one_way_s else url, limit=Limits(min=1, max=2))
                arms: dict[str, RowStreams] = {"law": RowStreams(engine)}
                arms |= {str(rows): HeldStreams(engine, rows) for rows in BLOCKS_OF}
                for streams in arms.values():
                    await _read(streams, query)  # a first look at the statement is nobody's figure
                reads = {arm: partial(_timed, streams, query) for arm, streams in arms.items()}
                cells[name] = await _in_turn(reads, blocks)
                if name == "20 KB, 20 ms away":
                    for arm, streams in arms.items():
                        largest[arm] = 20_000 * await _read(streams, query)
                await engine.dispose()
    return cells, largest


async def _read(streams: RowStreams, query: str) -> int:
    async with streams.stream(sa.text(query)) as stream:
        return max([len(block) async for block in stream.blocks()])


async def _timed(streams: RowStreams, query: str) -> float:
    began_s = time.perf_counter()
    await _read(streams, query)
    return time.perf_counter() - began_s


async def _in_turn(arms: Mapping[str, Callable[[], Awaitable[float]]], blocks: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {arm: [] for arm in arms}
    order = list(arms)
    for block in range(blocks):
        turn = block % len(order)
        for arm in order[turn:] + order[:turn]:
            found[arm].append(await arms[arm]())
    return found


# -- the gap of a stream --

STREAMS = {"20 streams": 20, "400 streams": 400}
RATE, SECONDS, CALM_S = 20.0, 4.0, 1.0
GAPS: dict[str, Callable[[], Law | None]] = {
    "law": StreamGap,
    "0 ms": lambda: None,
    "40 ms": lambda: Fixed(0.04),
}
_DUE = re.compile(rb"<(\d+\.\d+)>")
READER = "from bench.knobs import read_streams; import sys; read_streams(*map(float, sys.argv[1:]))"


def read_streams(port: float, count: float, seconds: float) -> None:
    """In a process of its own: read so many streams; print how late their tokens were in ms, mean and p95."""
    lates: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await reader.read(2**16):
                    now_s = time.perf_counter()
                    lates.extend(now_s - float(due) for due in _DUE.findall(data))
        writer.close()

    async def everybody() -> None:
        await asyncio.gather(*(one() for _ in range(int(count))))

    asyncio.run(everybody())
    lates.sort()
    sys.stdout.write(f"{1e3 * statistics.fmean(lates)} {1e3 * lates[int(0.95 * len(lates))]} {len(lates)}")


async def tokens(seconds: float) -> AsyncGenerator[ChatEvent, None]:
    """A stream of tokens at an even pace, each with the time at which it was due."""
    yield Accepted(UUID(int=0), "chat")
    began_s = time.perf_counter()
    for index in range(int(seconds * RATE)):
        due_s = began_s + CALM_S + index / RATE
        left_s = due_s - time.perf_counter()
        if left_s > 0:
            await asyncio.sleep(left_s)
        yield TextDelta(f"<{due_s:.4f}>")


async def lateness(law: Callable[[], Law | None], streams: int) -> float:
    """Milliseconds from when a token was due until its reader had it, on average."""
    pace = Pace(law=law())
    drain = Drain()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await EventStream(tokens(SECONDS), pace, drain)(scope, receive, send)

    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off", backlog=2048)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  (uvicorn tells nobody)
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    pace.open()
    command = [sys.executable, "-c", READER, str(port), str(streams), str(SECONDS + CALM_S + 10.0)]
    reading = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    out, _ = await reading.communicate()
    pace.close()
    server.should_exit = True
    await serving
    mean_ms, _p95_ms, _count = map(float, out.split())
    return mean_ms


async def gaps(blocks: int) -> Cells:
    """How late tokens are, by how many streams there are."""
    return {
        name: await _in_turn({arm: partial(lateness, law, count) for arm, law in GAPS.items()}, blocks)
        for name, count in STREAMS.items()
    }


# -- the two questions --


def table(cells: Cells, unit: str) -> list[str]:
    """Medians of each arm by cell, and how much worse than the best constant each arm is."""
    lines = []
    constants = [arm for arm in next(iter(cells.values())) if arm != "law"]
    logs: dict[str, list[float]] = {"law": [], **{arm: [] for arm in constants}}
    for name, arms in cells.items():
        middles = {arm: statistics.median(values) for arm, values in arms.items()}
        best = min(constants, key=middles.__getitem__)
        told = "  ".join(f"{arm} {value:.4g}" for arm, value in middles.items())
        lines.append(f"{name:22s} {told}   law/best ({best}) {middles['law'] / middles[best]:.2f}")
        for arm, value in middles.items():
            logs[arm].append(math.log(value / middles[best]))
    means = {arm: math.exp(statistics.fmean(values)) for arm, values in logs.items()}
    lines.append(
        f"{'over all (' + unit + ')':22s} " + "  ".join(f"{arm} {mean:.2f}" for arm, mean in means.items())
    )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.knobs", description=__doc__)
    parser.add_argument("--only", choices=["fetch", "gap"])
    parser.add_argument("--blocks", type=int, default=5)
    given = parser.parse_args(argv)
    print(headline(describe()))
    if given.only != "gap":
        cells, largest = asyncio.run(fetches(given.blocks))
        print("\n".join(table(cells, "seconds, over the best constant of each")))
        print("largest block, MB:", {arm: round(size / 1e6, 1) for arm, size in largest.items()}, flush=True)
    if given.only != "fetch":
        print("\n".join(table(asyncio.run(gaps(given.blocks)), "ms late, over the best constant of each")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
