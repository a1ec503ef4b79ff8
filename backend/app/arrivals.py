"""Time-outs and a bound for requests that are still arriving, which uvicorn has not.

A connection that has not sent a whole request holds a descriptor and nothing else: the time it may take is
bounded, and so is the number of such connections, so that slow senders cannot shut everybody else out.
"""

import asyncio
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.core.incidents import Incident, incidents

# Descriptors for the log, the pools, the engines and the answers under way.
OTHERS_FILES = 64
MOST = 10_000
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def room() -> int:
    """How many unfinished requests there may be: half of the descriptors that this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST
    return min(MOST, max(16, (soft - OTHERS_FILES) // 2))


class Arrivals:
    """The connections whose request is not whole yet, the oldest first."""

    def __init__(self, *, header_s: float, body_s: float, most: int | None = None) -> None:
        self.header_s = header_s
        self.body_s = body_s
        self.most = room() if most is None else most
        self._timers: dict[TimedProtocol, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def begin(self, connection: "TimedProtocol", within_s: float) -> None:
        """Cut `connection` if it is not through in time; the oldest when there are too many."""
        self.end(connection)
        if len(self._timers) >= self.most:
            self._cut(next(iter(self._timers)), "too many")
        loop = asyncio.get_running_loop()
        self._timers[connection] = loop.call_later(within_s, self._cut, connection, "too slow")

    def end(self, connection: "TimedProtocol") -> None:
        """It is through, or gone. Idempotent."""
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def _cut(self, connection: "TimedProtocol", reason: str) -> None:
        self.end(connection)
        incidents.note(Incident.SLOW_SENDER, reason=reason, arriving=len(self._timers))
        connection.cut()


class TimedProtocol(H11Protocol):
    """uvicorn's HTTP connection, which tells `arrivals` how far its request has come."""

    arrivals: Arrivals

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._part = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._enter("headers")

    def connection_lost(self, exc: Exception | None) -> None:
        self.arrivals.end(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Between two requests uvicorn's own keep-alive time-out holds, until the next one begins.
        self._part = ""
        if self.conn.their_state is not h11.IDLE or self.conn.trailing_data[0]:
            self._look()
        else:
            self.arrivals.end(self)

    def cut(self) -> None:
        """End a connection whose request does not come."""
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self.transport.write(_TOO_SLOW)
        self.transport.close()

    def _look(self) -> None:
        state = self.conn.their_state
        if state is h11.IDLE:
            self._enter("headers")
        elif state is h11.SEND_BODY:
            self._enter("body")
        else:
            self._part = ""
            self.arrivals.end(self)

    def _enter(self, part: str) -> None:
        if part != self._part:
            self._part = part
            self.arrivals.begin(self, self.arrivals.header_s if part == "headers" else self.arrivals.body_s)


def protocol(arrivals: Arrivals) -> type[TimedProtocol]:
    """The connection class of one server."""
    return type("Connection", (TimedProtocol,), {"arrivals": arrivals})
