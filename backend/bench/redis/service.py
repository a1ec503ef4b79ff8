"""A service as people write it: each request reads three keys one after the other and writes one.

The server runs in the measured process. Its callers are another process, `python -m bench.redis.service PORT
CONNECTIONS SECONDS`, so that their work is not counted.
"""

import asyncio
import json
import sys
import time
from typing import cast

from bench.redis.contenders import Contender
from fluido.redis.benchmark import Block

CONNECTIONS = 64
_VALUE = b"v" * 64


class Caller(asyncio.Protocol):
    """One connection in a closed loop: a byte is a request, a byte is its answer."""

    transport: asyncio.Transport

    def __init__(self, latencies: list[float]) -> None:
        self.latencies = latencies
        self.sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        self.sent_s = time.perf_counter()
        self.transport.write(b"?")

    def data_received(self, _data: bytes) -> None:
        self.latencies.append(time.perf_counter() - self.sent_s)
        self.ask()


class Handler(asyncio.Protocol):
    """The server's side: every request is a task of its own."""

    transport: asyncio.Transport

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, _data: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self.answer())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self) -> None:
        get = self.contender.get
        await get("bench:64:0")
        await get("bench:64:1")
        await get("bench:64:2")
        await self.contender.set("bench:64:3", _VALUE)
        if not self.transport.is_closing():
            self.transport.write(b"!")


async def serve(contender: Contender, duration_s: float) -> Block:
    """Serve another process for a block; what it saw, and what it cost here."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Handler(contender), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before_s = time.process_time()
    caller = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.redis.service",
        str(port),
        str(CONNECTIONS),
        str(duration_s),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await caller.communicate()
    cpu_s = time.process_time() - before_s
    server.close()
    seen = json.loads(out)
    return Block(len(seen["latencies_s"]), seen["wall_s"], cpu_s, seen["latencies_s"])


async def call(port: int, connections: int, duration_s: float) -> None:
    """Be the callers, and print what they saw."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    begun_s = time.perf_counter()
    ends = [
        await loop.create_connection(lambda: Caller(latencies), "127.0.0.1", port) for _ in range(connections)
    ]
    await asyncio.sleep(duration_s)
    wall_s = time.perf_counter() - begun_s
    for transport, _ in ends:
        transport.abort()
    print(json.dumps({"wall_s": wall_s, "latencies_s": latencies}))


if __name__ == "__main__":
    asyncio.run(call(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
