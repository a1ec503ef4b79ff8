"""HTTP messages of the gateway's server: a request in whole, and its answer as it comes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

Headers = Iterable[tuple[bytes, bytes]]

REASONS = {
    200: b"OK", 204: b"No Content", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden",
    404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout", 413: b"Content Too Large",
    422: b"Unprocessable Content", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
    508: b"Loop Detected",
}  # fmt: skip
NO_BODY = frozenset({204, 304})


@dataclass(slots=True)
class Request:
    """One request, whole. `target` is the path with its query; header names are in lower case.

    A header that came twice is joined by a comma, as RFC 9110 has it. `error` is a status with which the
    server itself refuses it, and `why` a sentence.
    """

    method: str
    target: str
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    peer: str = ""
    keeps_alive: bool = True
    is_new: bool = True
    error: int = 0
    why: str = ""

    @property
    def path(self) -> str:
        """The path alone."""
        return self.target.partition("?")[0]


class Source(Protocol):
    """Where an answer's bytes come from: told when the client cannot keep up."""

    def pause(self) -> None:
        """Send nothing for now."""

    def resume(self) -> None:
        """Go on."""


class Wire(Protocol):
    """The connection that an answer is written to."""

    write_paused: bool
    keeps_alive: bool
    is_new: bool

    def send(self, data: bytes) -> None:
        """Write."""

    def abort(self) -> None:
        """Break it."""

    def close(self) -> None:
        """Close it when everything was sent."""


class Answer:
    """The reply to one request. `start`, then `write` as often as there is something, then `end`.

    Writing never waits: a `source` that is set is paused while the client reads too slowly. After the client
    has left nothing is written any more, and the handler's task is cancelled.
    """

    __slots__ = ("_chunked", "_connection", "_is_head", "ended", "more", "source", "started", "status")

    def __init__(self, connection: Wire, *, is_head: bool) -> None:
        self._connection = connection
        self._is_head = is_head
        self._chunked = False
        self.started = self.ended = False
        self.more: Headers = ()
        """Headers that go with whatever is answered."""
        self.status = 0
        self.source: Source | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the client reads too slowly at the moment."""
        return self._connection.write_paused

    def start(self, status: int, headers: Headers, *, length: int | None = None, first: bytes = b"") -> None:
        """Send the head, in one write with the `first` piece of the body.

        With `length` the body is that long, without it ends when it ends.
        """
        if self.started:
            raise RuntimeError("an answer was started twice")
        self.started, self.status = True, status
        connection = self._connection
        parts = [b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b"Status"))]
        parts += [b"%b: %b\r\n" % header for headers in (headers, self.more) for header in headers]
        if length is not None:
            parts.append(b"content-length: %d\r\n" % length)
        elif status not in NO_BODY:
            if connection.is_new:
                self._chunked = not self._is_head
                parts.append(b"transfer-encoding: chunked\r\n")
            else:
                connection.keeps_alive = False
        parts.append(
            b"connection: keep-alive\r\n\r\n" if connection.keeps_alive else b"connection: close\r\n\r\n"
        )
        if first and not self._is_head:
            parts.append(self._framed(first))
        connection.send(b"".join(parts))

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        if self._is_head or self.ended or not data:
            return
        self._connection.send(self._framed(data))

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def end(self) -> None:
        """The body is complete. Idempotent."""
        if not self.ended:
            self.ended = True
            if self._chunked:
                self._connection.send(b"0\r\n\r\n")

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send everything at once."""
        self.start(status, headers, length=None if status in NO_BODY else len(body), first=body)
        self.end()

    @property
    def shows_a_cut(self) -> bool:
        """Whether a client sees that a body without a length was not sent to its end."""
        return self._connection.is_new and not self._is_head

    def cut(self, words: bytes) -> None:
        """Send the last that can be said, and close without an end: it must not look complete."""
        self.write(words)
        self.ended = True
        self._connection.keeps_alive = False
        self._connection.close()

    def abort(self) -> None:
        """Break the connection: what was begun cannot be completed, and must not look complete."""
        self.ended = True
        self._connection.abort()
