"""A link that takes its time: `python -m bench.redis.far TARGET_PORT DELAY_MS` prints its own port.

Each direction keeps every piece for half the round trip. A selector loop wakes at whole milliseconds, so a
round trip may be up to 2 ms longer than asked.
"""

import asyncio
import sys
from collections import deque
from typing import cast


class Pipe(asyncio.Protocol):
    """One end. What it receives leaves at the other end, later and in order."""

    transport: asyncio.Transport

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.other: Pipe | None = None
        self.pieces: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        asyncio.get_running_loop().call_later(self.delay_s, self.pass_on)

    def pass_on(self) -> None:
        piece = self.pieces.popleft()
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.write(piece)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


class Front(Pipe):
    """The end a client connects to; it opens the way to the target."""

    def __init__(self, target_port: int, delay_s: float) -> None:
        super().__init__(delay_s)
        self.target_port = target_port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self.opening = asyncio.get_running_loop().create_task(self.open())

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        _, back = await loop.create_connection(lambda: Pipe(self.delay_s), "127.0.0.1", self.target_port)
        back.other, self.other = self, back
        self.transport.resume_reading()


async def main(target_port: int, delay_ms: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(target_port, delay_ms / 2e3), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
