"""A Redis server in the test's own loop that answers by script and remembers what it was asked.

Work commands: `GET key` answers the key, `APPEND key x` answers the number in the key, so that every reply
tells whose it is. A fault hits one command by its ordinal among all work commands.
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

import hiredis

LARGE_BYTES = 4096
DRIPS = 8
DRIP_S = 0.01


class Fault(Enum):
    """What happens to one command."""

    ERROR = "error"
    LOADING = "loading"
    PUSH = "push"
    STALL = "stall"
    KILL_BEFORE = "kill before it runs"
    KILL_AFTER = "kill after it ran"
    KILL_MIDWAY = "kill in the middle of its reply"
    GARBAGE = "garbage"
    SLOW = "a large reply, slower than the socket timeout"


@dataclass(slots=True)
class Server:
    """What all connections of one scenario share."""

    faults: dict[int, Fault] = field(default_factory=dict)
    fragment_bytes: int = 0
    protocol: int = 3
    held: bool = False
    ordinal: int = 0
    executed: list[tuple[int, str]] = field(default_factory=list)  # (connection, key) in the order they ran
    arrived: set[str] = field(default_factory=set)
    most_inflight: int = 0
    sessions: list["Session"] = field(default_factory=list)
    opened: int = 0
    refusals: int = 0  # so many connections are cut as soon as they come
    listener: asyncio.Server | None = None
    slow: set[str] = field(default_factory=set)  # keys whose replies were

    async def start(self) -> int:
        """Listen on a free port of the loopback and return it."""
        loop = asyncio.get_running_loop()
        self.listener = await loop.create_server(lambda: Session(self), "127.0.0.1", 0)
        port: int = self.listener.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Close everything."""
        self.kill()
        if self.listener is not None:
            self.listener.close()
            await self.listener.wait_closed()

    def kill(self) -> None:
        """Cut all connections."""
        for session in tuple(self.sessions):
            session.transport.abort()

    def refuse(self, count: int) -> None:
        """Cut all connections, and so many new ones as soon as they come."""
        self.kill()
        self.refusals = count

    def hold(self) -> None:
        """Run commands, and keep their replies."""
        self.held = True

    def deafen(self) -> None:
        """Stop reading."""
        for session in self.sessions:
            session.transport.pause_reading()

    def release(self) -> None:
        """Read again, let the replies go, and do no more harm."""
        self.held = False
        for session in self.sessions:
            session.stalled = False
            session.transport.resume_reading()
            session.pump()


class Session(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.reader = hiredis.Reader()
        self.number = 0
        self.outbox = bytearray()
        self.unanswered = 0
        self.block: list[list[bytes]] | None = None
        self.stalled = False
        self.pumping = False
        self.dripping = 0  # bytes of a slow reply that are still to come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.server.opened += 1
        self.number = self.server.opened
        self.server.sessions.append(self)
        if self.server.refusals:
            self.server.refusals -= 1
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.sessions.remove(self)

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (command := self.reader.gets()) is not False:
            if self.transport.is_closing():
                return
            self.take(command)
        if not self.server.fragment_bytes and not self.dripping:  # else some may have been answered already
            self.server.most_inflight = max(self.server.most_inflight, self.unanswered)
        self.pump()

    def take(self, command: list[bytes]) -> None:
        name = command[0].upper()
        if name == b"HELLO":
            self.outbox += b"%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
        elif name == b"MULTI":
            self.block = []
            self.outbox += b"+OK\r\n"
        elif name == b"EXEC":
            block, self.block = self.block or [], None
            self.outbox += b"*%d\r\n" % len(block)
            for queued in block:
                self.run(queued)
        elif name in {b"GET", b"APPEND"}:
            self.work(command)
        else:
            self.outbox += b"+OK\r\n"

    def work(self, command: list[bytes]) -> None:  # noqa: C901  # one line a fault
        server = self.server
        server.ordinal += 1
        server.arrived.add(command[1].decode())
        fault = server.faults.get(server.ordinal)
        self.unanswered += 1
        if self.block is not None:
            self.block.append(command)
            self.outbox += b"+QUEUED\r\n"
            return
        match fault:
            case None:
                self.run(command)
            case Fault.PUSH:
                if server.protocol == 3:
                    self.outbox += b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n"
                self.run(command)
            case Fault.ERROR:
                self.outbox += b"-ERR about %b\r\n" % command[1]
            case Fault.LOADING:
                self.outbox += b"-LOADING about %b\r\n" % command[1]
            case Fault.STALL:
                self.run(command)
                self.stalled = True
            case Fault.KILL_BEFORE:
                self.transport.abort()
            case Fault.KILL_AFTER:
                self.run(command)
                self.transport.abort()
            case Fault.KILL_MIDWAY:
                self.run(command)
                self.transport.write(bytes(self.outbox[:-3]))
                self.outbox.clear()
                self.transport.close()
            case Fault.SLOW:
                self.run_slowly(command)
            case Fault.GARBAGE:
                self.outbox += b"\x01?\r\n"

    def run(self, command: list[bytes], size: int = 0) -> None:
        key = command[1]
        self.server.executed.append((self.number, key.decode()))
        if command[0].upper() == b"GET":
            value = key.ljust(size, b".")
            self.outbox += b"$%d\r\n%b\r\n" % (len(value), value)
        else:
            self.outbox += b":%d\r\n" % int(bytes(b for b in key if chr(b).isdigit()))

    def run_slowly(self, command: list[bytes]) -> None:
        self.server.slow.add(command[1].decode())
        self.run(command, LARGE_BYTES)
        self.dripping = len(self.outbox)

    def pump(self) -> None:
        """Let replies go: all at once, or a piece an iteration of the loop."""
        if self.server.held or self.stalled or self.transport.is_closing() or not self.outbox:
            return
        size = self.server.fragment_bytes
        if self.dripping:
            if not self.pumping:
                self.pumping = True
                asyncio.get_running_loop().call_later(DRIP_S, self.drip)
        elif not size:
            self.transport.write(bytes(self.outbox))
            self.outbox.clear()
            self.unanswered = 0
        elif not self.pumping:
            self.pumping = True
            asyncio.get_running_loop().call_soon(self.pump_piece)

    def drip(self) -> None:
        """A piece of a slow reply: the socket timeout is over before all of them have come."""
        self.pumping = False
        if self.transport.is_closing():
            return
        size = max(1, LARGE_BYTES // DRIPS)
        self.transport.write(bytes(self.outbox[:size]))
        del self.outbox[:size]
        self.dripping = max(0, self.dripping - size)
        if not self.outbox:
            self.unanswered = 0
        self.pump()

    def pump_piece(self) -> None:
        self.pumping = False
        if self.server.held or self.stalled or self.transport.is_closing():
            return
        size = self.server.fragment_bytes
        self.transport.write(bytes(self.outbox[:size]))
        del self.outbox[:size]
        if self.outbox:
            self.pumping = True
            asyncio.get_running_loop().call_soon(self.pump_piece)
        else:
            self.unanswered = 0
