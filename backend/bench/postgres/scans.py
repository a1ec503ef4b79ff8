"""Large results: SQLAlchemy's stream against ours, near and over a slow line."""

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.postgres import arms
from bench.postgres.record import Measured
from fluido.sqlalchemy import Limits, RowStreams, create_async_engine

NARROW = "SELECT n, 'row number ' || n AS name FROM generate_series(1, {rows}) AS n"
WIDE = "SELECT n, repeat(md5(n::text), 256) AS body FROM generate_series(1, {rows}) AS n"


async def scans(url: str, *, blocks: int) -> AsyncIterator[Measured]:
    """Rows a second, and the peak of Python's memory over wide rows."""
    async for measured in _scan(url, "scan, narrow rows", NARROW.format(rows=200_000), blocks):
        yield measured
    wide = WIDE.format(rows=6_000)
    async for measured in _scan(url, "scan, rows of 8 KB", wide, blocks, memory=True):
        yield measured
    async with slow_line(url, one_way_s=0.005) as far:
        async for measured in _scan(far, "scan, 10 ms away", NARROW.format(rows=20_000), blocks):
            yield measured


async def _scan(
    url: str, name: str, query: str, blocks: int, *, memory: bool = False
) -> AsyncIterator[Measured]:
    arm = arms.FluidoArm("fluido", create_async_engine(url, limit=Limits(min=1, max=2)))
    await arm.open()
    streams = RowStreams(arm.engine)
    readers: dict[str, Callable[[], Awaitable[int]]] = {
        "SQLAlchemy stream": lambda: _stock(arm.engine, query),
        "RowStreams": lambda: _ours(streams, query),
    }
    rates: dict[str, list[list[float]]] = {reader: [] for reader in readers}
    for index in range(blocks):
        for reader in list(readers) if index % 2 == 0 else list(readers)[::-1]:
            started_s = time.perf_counter()
            rows = await readers[reader]()
            rates[reader].append([rows / (time.perf_counter() - started_s)])
    for reader, values in rates.items():
        yield Measured(name, reader, "rows/s", values)
    if memory:
        for reader, read in readers.items():
            tracemalloc.start()
            await read()
            yield Measured(name, reader, "peak MB", [[tracemalloc.get_traced_memory()[1] / 1e6]])
            tracemalloc.stop()
    await arm.close()


async def _stock(engine: AsyncEngine, query: str) -> int:
    rows = 0
    async with engine.connect() as connection:
        async for _ in await connection.stream(sa.text(query)):
            rows += 1
    return rows


async def _ours(streams: RowStreams, query: str) -> int:
    rows = 0
    async with streams.stream(sa.text(query)) as stream:
        async for _ in stream:
            rows += 1
    return rows


@asynccontextmanager
async def slow_line(url: str, *, one_way_s: float) -> AsyncIterator[str]:
    """A proxy on loopback that delivers every packet `one_way_s` later, in order, in both directions."""
    target = make_url(url)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(2**16):
            loop.call_later(one_way_s, writer.write, data)
        loop.call_later(one_way_s, writer.close)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, back = await asyncio.open_connection(target.host, target.port)
        await asyncio.gather(forward(reader, back), forward(upstream, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        server.close()
