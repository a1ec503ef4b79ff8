"""The least that a proxy can do: bytes from one socket to another. What more is added is the gateway's."""

import argparse
import asyncio
from typing import cast

import uvloop

END = b"0\r\n\r\n"


class _Engine(asyncio.Protocol):
    """A connection to the engine, which serves one client after the other."""

    def __init__(self, idle: "list[_Engine]") -> None:
        self._idle = idle
        self.client: asyncio.Transport | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio

    def data_received(self, data: bytes) -> None:
        if self.client is not None:
            self.client.write(data)
        if data.endswith(END):
            self.client = None
            self._idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self in self._idle:
            self._idle.remove(self)
        if self.client is not None:
            self.client.abort()


class _Client(asyncio.Protocol):
    def __init__(self, engine: int, idle: list[_Engine]) -> None:
        self._port = engine
        self._idle = idle
        self._engine: _Engine | None = None
        self._task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._engine is None or self._engine.client is not self.transport:
            if not self._idle:
                self._task = asyncio.get_running_loop().create_task(self._connect(data))
                return
            self._engine = self._idle.pop()
            self._engine.client = self.transport
        self._engine.transport.write(data)

    async def _connect(self, data: bytes) -> None:
        _, self._engine = await asyncio.get_running_loop().create_connection(
            lambda: _Engine(self._idle), "127.0.0.1", self._port
        )
        self._engine.client = self.transport
        self._engine.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self._engine is not None and self._engine.client is self.transport:
            self._engine.client = None
            self._engine.transport.abort()


async def serve(port: int, engine: int) -> None:
    """Until it is killed."""
    idle: list[_Engine] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(engine, idle), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--engine", type=int, required=True)
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.engine))


if __name__ == "__main__":
    main()
