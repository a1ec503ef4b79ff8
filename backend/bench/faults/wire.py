"""A link on loopback that can be slow, or be cut with a reset, while others use it."""

import asyncio
import socket
import struct
from collections import deque
from typing import Self, cast

_RESET = struct.pack("ii", 1, 0)


class _End(asyncio.Protocol):
    """One end. What it receives leaves at the other end, later and in order."""

    def __init__(self, wire: "Wire") -> None:
        self.wire = wire
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None
        self.pieces: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.wire.ends.add(self)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        if self.wire.delay_s or len(self.pieces) > 1:
            asyncio.get_running_loop().call_later(self.wire.delay_s, self.pass_on)
        else:
            self.pass_on()

    def pass_on(self) -> None:
        piece = self.pieces.popleft()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(piece)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.wire.ends.discard(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def reset(self) -> None:
        """End the connection as a broken network does: the peer gets a reset."""
        if self.transport is None:
            return
        bare = self.transport.get_extra_info("socket")
        if bare is not None:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


class _Front(_End):
    """The end that clients connect to; it opens the way to the target."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast("asyncio.Transport", transport).pause_reading()
        self.wire.opening.add(task := asyncio.ensure_future(self._open()))
        task.add_done_callback(self.wire.opening.discard)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        assert self.transport is not None  # noqa: S101 - connection_made() came before
        try:
            _, back = await loop.create_connection(lambda: _End(self.wire), "127.0.0.1", self.wire.target)
        except OSError:
            self.transport.abort()
            return
        back.other, self.other = self, back
        self.transport.resume_reading()


class Wire:
    """Leads from `port` to `target`; each direction keeps every piece for `delay_s`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_s = 0.0
        self.ends: set[_End] = set()
        self.opening: set[asyncio.Future[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None, "open() first"  # noqa: S101 - a mistake of the suite itself
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Front(self), "127.0.0.1", 0)
        return self

    def cut(self) -> int:
        """Reset every connection; return how many there were."""
        ends = tuple(self.ends)
        for end in ends:
            end.reset()
        return len(ends) // 2

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self.opening):
            task.cancel()
        self.cut()
