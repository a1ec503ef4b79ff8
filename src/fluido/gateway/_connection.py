"""One client's HTTP/1.1 connection: parsed by httptools (Node's llhttp), bounded, pipelined."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, cast

import httptools

from fluido.gateway._http import Answer, Request

MOST_HEADERS = 128
MOST_HEAD_BYTES = 64 * 1024
MOST_PIPELINED = 16
# One who still sends what was refused reads the answer first: a connection that is reset loses it.
LINGER_S = 1.0

Handler = Callable[[Request, Answer], Awaitable[None]]
_log = logging.getLogger("fluido.gateway")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server holds at most. Sizes in bytes, times in seconds.

    `held_bytes` are the bodies of all requests together. `idle_s` is how long a connection without a request
    is kept, `arrive_s` how long one may be silent in the middle of a request.
    """

    body_bytes: int = 32 << 20
    held_bytes: int = 512 << 20
    connections: int = 8192
    idle_s: float = 75.0
    arrive_s: float = 30.0


class Host(Protocol):
    """The server, as a connection sees it."""

    handler: Handler
    limits: Limits
    clock: Callable[[], float]
    held_bytes: int
    is_closing: bool
    loop: asyncio.AbstractEventLoop

    def joined(self, connection: "Connection") -> None:
        """A client connected."""

    def left(self, connection: "Connection") -> None:
        """It left."""

    def busy(self, connection: "Connection") -> None:
        """A request of it has begun."""

    def idle(self, connection: "Connection") -> None:
        """It waits for its next request."""


class Connection(asyncio.Protocol):
    """One client. Requests that come before the last one is answered wait (pipelining)."""

    def __init__(self, server: Host) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._coming = Request("", "")
        self._pieces: list[bytes] = []
        self._size = self._head_bytes = 0
        self._refused = self._arriving = self._closing = False
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._answer: Answer | None = None
        self._held = 0
        self.heard_s = server.clock()
        self.write_paused = False
        self.keeps_alive = self.is_new = True

    # what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio
        self._server.joined(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self.heard_s = self._server.clock()
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._stop_reading()  # what follows is another protocol; this request is answered in ours
        except httptools.HttpParserError as error:
            self._refuse(400, f"this is not HTTP/1.1: {error}")

    def eof_received(self) -> None:
        """The client sends no more: as with Go's and Python's servers it has left."""

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The client left: what is done for it ends at once."""
        self._server.left(self)
        self._transport = None
        self._waiting.clear()
        self._hold(-self._held)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self.write_paused = True
        if self._answer is not None and self._answer.source is not None:
            self._answer.source.pause()

    def resume_writing(self) -> None:
        """It caught up."""
        self.write_paused = False
        if self._answer is not None and self._answer.source is not None:
            self._answer.source.resume()

    # what the parser says

    def on_message_begin(self) -> None:
        """A request begins."""
        self._coming = Request("", "")
        self._pieces, self._size, self._head_bytes, self._arriving = [], 0, 0, True
        self._server.busy(self)

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        self._coming.target += url.decode("latin-1")
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody asks for."""
        headers, name = self._coming.headers, name.lower()
        self._count_head(len(name) + len(value))
        if self._coming.method:
            return
        headers[name] = b"%b, %b" % (headers[name], value) if name in headers else value

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        too_many = len(self._coming.headers) > MOST_HEADERS
        if (self._head_bytes > MOST_HEAD_BYTES or too_many) and not self._refused:
            self._refuse(
                431, f"the request's head is over {MOST_HEAD_BYTES >> 10} KiB or {MOST_HEADERS} headers"
            )

    def on_headers_complete(self) -> None:
        """The head is there: whether its body may come."""
        request, parser = self._coming, self._parser
        request.method = parser.get_method().decode("latin-1")
        request.keeps_alive = parser.should_keep_alive()
        request.is_new = parser.get_http_version() != "1.0"
        if self._refused:
            return
        length = request.headers.get(b"content-length", b"0")
        if self._is_too_large(int(length) if length.isdigit() else 0):
            return
        if request.headers.get(b"expect", b"").lower() == b"100-continue" and self._task is None:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._refused or self._is_too_large(self._size + len(data)):
            return
        self._size += len(data)
        self._hold(len(data))
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._arriving = False
        if self._refused:
            return
        pieces, request = self._pieces, self._coming
        request.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._waiting.append(request)
        if len(self._waiting) > MOST_PIPELINED:
            self._refuse(429, f"more than {MOST_PIPELINED} requests before the first answer")
        elif self._task is None:
            self._next()

    def _is_too_large(self, size: int) -> bool:
        limits = self._server.limits
        if size > limits.body_bytes:
            self._refuse(413, f"a body may have {limits.body_bytes} bytes")
        elif self._server.held_bytes + size - self._size > limits.held_bytes:
            self._refuse(503, "too many bytes wait for an answer: try again later")
        return self._refused

    def _hold(self, size: int) -> None:
        self._held += size
        self._server.held_bytes += size

    # the walk of a request

    def _refuse(self, status: int, why: str) -> None:
        """Answer what cannot be read, after what came before it, and close."""
        if self._refused:
            return
        self._refused = True
        self._pieces = []
        request = self._coming
        request.error, request.why, request.keeps_alive, request.body = status, why, False, b""
        self._waiting.append(request)
        if self._task is None:
            self._next()

    def _stop_reading(self) -> None:
        self._refused = True
        for request in self._waiting:
            request.keeps_alive = False
        self.keeps_alive = False

    def _next(self) -> None:
        request = self._waiting.popleft()
        request.peer = self._peer()
        if request.target[:1] not in {"/", "*"}:  # as a proxy is asked: http://host/path
            request.target = "/" + request.target.partition("://")[2].partition("/")[2]
        self.keeps_alive = request.keeps_alive and not self._server.is_closing
        self.is_new = request.is_new
        self._answer = Answer(self, is_head=request.method == "HEAD")
        self._task = self._server.loop.create_task(self._run(request, self._answer))

    def _peer(self) -> str:
        name = self._transport.get_extra_info("peername") if self._transport else None
        return str(name[0]) if isinstance(name, tuple) else ""

    async def _run(self, request: Request, answer: Answer) -> None:
        size = len(request.body)
        try:
            await self._server.handler(request, answer)
        except Exception:  # noqa: BLE001  (whatever a handler stumbles over, its client gets an answer)
            _log.exception("a handler failed at %s %s", request.method, request.path)
            if not answer.started:
                answer.whole(
                    500, ((b"content-type", b"text/plain"),), b"the gateway failed at this request\n"
                )
        finally:
            answer.source = self._answer = self._task = None
            if self._transport is not None:
                self._hold(-size)
                self._ended(answer)

    def _ended(self, answer: Answer) -> None:
        if not answer.ended or not self.keeps_alive:
            # An answer that was begun and not ended must not look whole.
            self.close() if answer.ended else self.abort()
        elif self._waiting:
            self._next()
        elif not self._arriving:
            self.heard_s = self._server.clock()
            self._server.idle(self)

    def send(self, data: bytes) -> None:
        """Write to the client, unless it has left."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close when everything was sent."""
        transport, self._closing = self._transport, True
        if transport is None:
            return
        if self._refused and self._arriving and transport.can_write_eof():
            with suppress(OSError):
                transport.write_eof()
            self._server.loop.call_later(LINGER_S, self.abort)
            return
        transport.close()

    def abort(self) -> None:
        """Break the connection."""
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now_s: float) -> None:
        """Close it where nothing came for too long and nothing is being answered."""
        if self._task is not None:
            return
        silent_s, limits = now_s - self.heard_s, self._server.limits
        if self._closing:
            if silent_s > limits.arrive_s:
                self.abort()  # its client does not read the end
        elif self._arriving:
            if silent_s > limits.arrive_s:
                self._refuse(408, "the request did not arrive in time")
        elif silent_s > limits.idle_s:
            self.close()

    def finish(self) -> None:
        """The server closes: end when the answer that runs has ended."""
        self.keeps_alive = False
        if self._task is None:
            self.close()

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """What answers at the moment."""
        return self._task
