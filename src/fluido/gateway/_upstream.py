"""HTTP/1.1 client for engines: a connection pool whose replies are handed on as they come, cancelled at once.

The parser is httptools. A reply goes to a `Sink`: its head, pieces of its body (unpacked where the engine
packs it without having been asked to), and then exactly one of its end or its loss.
"""

import asyncio
import ssl
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Protocol, cast
from urllib.parse import urlsplit

import httptools

from fluido.errors import Closed
from fluido.llm._errors import StreamBroken, Unreached

CONNECT_S = 2.0
# Servers close what is idle after 5 s (cpp-httplib, uvicorn): a connection is left alone before that.
KEEP_S = 4.0
# One that breaks so soon, without a word, was closed before the request came.
STALE_S = 1.0
MOST_IDLE = 256
MOST_HEAD_BYTES = 64 * 1024
# A packed piece is unpacked in steps of this size.
UNPACK_BYTES = 256 * 1024
PACKED = {b"gzip": 47, b"x-gzip": 47, b"deflate": 47}


class Sink(Protocol):
    """Who reads a reply. Called from the engine's connection; must not raise."""

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head came. Names are in lower case."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body."""

    def on_end(self) -> None:
        """The reply ended as HTTP has it."""

    def on_lost(self, error: StreamBroken) -> None:
        """The connection broke inside of the reply."""


class EngineConnection(asyncio.Protocol):
    """One connection to an engine, with at most one request on it."""

    def __init__(self, pool: "EnginePool") -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._sink: Sink | None = None
        self._head: asyncio.Future[int] | None = None
        self._pieces: list[bytes] = []
        self._unpack: zlib._Decompress | None = None
        self._is_informal = self._until_close = self._is_body = False
        self._has_no_body = False
        self.heard = False
        """Whether anything came since the last request."""
        self.idle_since_s = 0.0

    # what the caller does

    def send(
        self, head: bytes, body: bytes, sink: Sink, *, has_no_body: bool = False
    ) -> "asyncio.Future[int]":
        """Ask. The future is the status, or StreamBroken where the connection broke before a head."""
        assert self._transport is not None  # noqa: S101
        self._sink, self._has_no_body = sink, has_no_body
        self._is_body = self.heard = False
        self._head = self._pool.loop.create_future()
        if len(body) < MOST_HEAD_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return self._head

    def pause(self) -> None:
        """Read nothing for now: the engine feels that its reader is slow."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Leave: the engine sees a closed connection and ends what it does for us. Nothing is told."""
        self._sink = None
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """The pool was closed: whoever reads is told."""
        self._lose("the gateway was closed")

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    # what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio

    def data_received(self, data: bytes) -> None:
        """Bytes came: all that they hold of a body is handed on in one piece."""
        if self._sink is None:
            self.abort()  # nobody asked
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, zlib.error) as error:
            self._hand_on()
            self._lose(f"the engine's reply cannot be read: {error}")
            return
        self._hand_on()

    def _hand_on(self) -> None:
        pieces, sink = self._pieces, self._sink
        if pieces and sink is not None:
            self._pieces = []
            if data := pieces[0] if len(pieces) == 1 else b"".join(pieces):
                sink.on_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        """The engine closed, or broke."""
        self._transport = None
        self._pool.lost(self)
        if self._sink is None:
            return
        if self._until_close and self._is_body and error is None:
            self._end()  # HTTP/1.0: the end of the connection is the end of the reply
            return
        self._lose(f"the engine closed the connection{f': {error}' if error else ''}")

    def _lose(self, why: str) -> None:
        sink, self._sink = self._sink, None
        broken = StreamBroken(f"{self._pool.name}: {why}")
        if self._transport is not None:
            self._transport.abort()
        if self._head is not None and not self._head.done():
            self._head.set_exception(broken)
        elif sink is not None:
            sink.on_lost(broken)

    # what the parser says

    def on_message_begin(self) -> None:
        """A reply begins."""
        self._headers, self._head_bytes = {}, 0
        self._is_body = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer is left out."""
        if self._is_body:
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MOST_HEAD_BYTES:
            raise httptools.HttpParserError("its head is too large")
        name = name.lower()
        self._headers[name] = b"%b, %b" % (self._headers[name], value) if name in self._headers else value

    def on_headers_complete(self) -> None:
        """The head is whole."""
        status, headers = self._parser.get_status_code(), self._headers
        self._is_informal = 100 <= status < 200
        if self._is_informal:
            return
        self._is_body = True
        self._until_close = b"content-length" not in headers and b"transfer-encoding" not in headers
        packed = headers.pop(b"content-encoding", b"identity").lower()
        self._unpack = None
        if packed in PACKED and not self._has_no_body:
            self._unpack = zlib.decompressobj(PACKED[packed])
            headers.pop(b"content-length", None)
        elif packed != b"identity" and not self._has_no_body:
            raise httptools.HttpParserError(f"packed as {packed.decode('latin-1')}, which nobody asked for")
        if self._head is not None and not self._head.done():
            self._head.set_result(status)
        if self._sink is not None:
            self._sink.on_head(status, headers)
        if self._has_no_body:
            self._end()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._unpack is None:
            self._pieces.append(data)
            return
        while data:
            self._pieces.append(self._unpack.decompress(data, UNPACK_BYTES))
            data = self._unpack.unconsumed_tail

    def on_message_complete(self) -> None:
        """The reply is whole."""
        if not self._is_informal:
            self._hand_on()
            self._end()

    def _end(self) -> None:
        sink, self._sink = self._sink, None
        if sink is None:
            return
        keeps = self._transport is not None and not self._until_close and not self._has_no_body
        if keeps and self._parser.should_keep_alive():
            self._pool.give_back(self)
        elif self._transport is not None:
            self._transport.abort()
        sink.on_end()


class EnginePool:
    """The connections to one engine at `url` (http or https). `headers` go with every request.

    Inert until used. A connection that the engine had given up is replaced by a new one, as long as nothing
    of a reply has come.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "",
        headers: Iterable[tuple[bytes, bytes]] = (),
        connect_s: float = CONNECT_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"an engine's address begins with http:// or https://, not {url!r}")
        self.name = name or url
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._base = parts.path.rstrip("/").encode()
        host = parts.netloc.rpartition("@")[2].encode()
        fixed = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._fixed = b"host: %b\r\naccept-encoding: identity\r\n%b" % (host, fixed)
        self._connect_s = connect_s
        self._clock = clock
        self._idle: list[EngineConnection] = []
        self._all: set[EngineConnection] = set()
        self._is_closed = False
        self.loop: asyncio.AbstractEventLoop

    async def ask(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        sink: Sink,
    ) -> EngineConnection:
        """Send one request and return when the head of its reply came, which `sink` got first.

        Raises Unreached when there is no connection to be had, StreamBroken when it broke before the head. A
        caller who is cancelled meanwhile has left the engine.
        """
        if self._is_closed:
            raise Closed("the gateway was closed")
        self.loop = asyncio.get_running_loop()
        head = self._head_of(method, path, headers, body)
        has_no_body = method == "HEAD"
        if (connection := self._take()) is not None:
            sent_s = self._clock()
            try:
                await self._asked(connection, head, body, sink, has_no_body=has_no_body)
            except StreamBroken:
                if self._is_closed or connection.heard or self._clock() - sent_s > STALE_S:
                    raise
            else:
                return connection
        connection = await self._connect()
        await self._asked(connection, head, body, sink, has_no_body=has_no_body)
        return connection

    async def _asked(
        self, connection: EngineConnection, head: bytes, body: bytes, sink: Sink, *, has_no_body: bool
    ) -> None:
        try:
            await connection.send(head, body, sink, has_no_body=has_no_body)
        except asyncio.CancelledError:
            connection.abort()
            raise

    def _head_of(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
        more = b"".join(b"%b: %b\r\n" % header for header in headers)
        if body or method not in {"GET", "HEAD"}:
            more += b"content-length: %d\r\n" % len(body)
        target = self._base + path.encode("latin-1")
        return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method.encode(), target, self._fixed, more)

    def _take(self) -> EngineConnection | None:
        """The connection that was used last, if one is fresh."""
        oldest_s = self._clock() - KEEP_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since_s >= oldest_s:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> EngineConnection:
        try:
            async with asyncio.timeout(self._connect_s):
                _, connection = await self.loop.create_connection(
                    lambda: EngineConnection(self), self._host, self._port, ssl=self._tls
                )
        except (OSError, TimeoutError) as error:
            raise Unreached(f"{self.name} does not answer: {error or type(error).__name__}") from error
        self._all.add(connection)
        return connection

    def give_back(self, connection: EngineConnection) -> None:
        """A reply ended: the next request may take its connection."""
        connection.resume()
        connection.idle_since_s = self._clock()
        self._idle.append(connection)
        if len(self._idle) > MOST_IDLE:
            self._idle.pop(0).abort()

    def lost(self, connection: EngineConnection) -> None:
        """A connection is no more."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def close(self) -> None:
        """Break every connection; who reads is told. Idempotent."""
        self._is_closed = True
        for connection in tuple(self._all):
            connection.close()
