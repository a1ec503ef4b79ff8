"""HTTP to one engine over aiohttp: three times cheaper per streamed event than httpx (docs/results/llm)."""

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from fluido.errors import Closed, EngineUnavailable
from fluido.llm._errors import StreamBroken, Unreached
from fluido.llm.engines._wire import BOM, MAX_LINE_BYTES, NOT_JSON

# llama.cpp's HTTP library closes an idle connection after 5 s: ours must have given it up before.
KEEPALIVE_S = 2.0
# Given up by the server while we wrote: that shows at once. Later, the server died while it worked.
STALE_CONNECTION_S = 0.1
CONNECT_TIMEOUT_S = 0.8
# /api/show of a big model on a network disk takes more than a second; who waits for an engine that is silent
# is told so earlier (`health.SURE_S`).
ASK_TIMEOUT_S = 5.0
MAX_ERROR_BYTES = 64 << 10
# What an engine says of itself: a list of hundreds of models is some 100 KiB.
MAX_REPLY_BYTES = 8 << 20
# The end of the body may come a packet after the end of the answer; waiting for it keeps the connection.
LAST_BYTES_S = 0.02
_NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
KEEPS_METHOD = frozenset({307, 308})
MOST_HOPS = 3
MOST_RETRY_S = 3600.0
_TITLE = re.compile(rb"<(?:title|h1)[^>]*>([^<]{1,200})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came to a POST: status, the pieces of the body as they come, and when to ask again (`Retry-After`,
    seconds; None: not told)."""

    status: int
    pieces: AsyncIterator[bytes]
    retry_after_s: float | None = None


class Transport:
    """Connections to one server. No limit of its own: the queue in front of it is the only one."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        ask_s: float = ASK_TIMEOUT_S,
        connect_s: float = CONNECT_TIMEOUT_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._ask_s = ask_s
        self._connect_s = connect_s
        self._headers = dict(headers or {})
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._afresh: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the sessions; nothing is connected yet."""
        if self._session is None:
            self._session = self._make(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S))
            # What replaces a stale connection must not be the next stale one out of the same drawer.
            self._afresh = self._make(aiohttp.TCPConnector(limit=0, force_close=True))

    def _make(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_s),
            headers=self._headers,
            auto_decompress=True,
            # A hosted API is reached through a company's proxy, as by others; an engine at home directly.
            trust_env=self.base_url.startswith("https://"),
        )

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        sessions = (self._session, self._afresh)
        self._session = self._afresh = None
        for session in sessions:
            if session is not None:
                await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Closed(f"the engine client for {self.base_url} is not open")
        return self._session

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> tuple[int, dict[str, object]]:
        """One small request: status and JSON (empty when the reply holds none). Raises EngineUnavailable.

        `timeout_s` stands in for the time that questions have; infinite: as long as it takes.
        """
        status, value = await self.ask_any(method, path, body, timeout_s=timeout_s)
        return status, value if isinstance(value, dict) else {}

    async def ask_any(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> tuple[int, object]:
        """As `ask`, for replies that need not be an object; None where it is not JSON."""
        limit_s = self._ask_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(None if math.isinf(limit_s) else limit_s):
                response = await self._send(method, self.base_url + path, body)
                try:
                    self._check_redirect(response)
                    raw = await self._bounded(response)
                finally:
                    response.close()  # nothing where all was read
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(error) from error
        try:
            return response.status, json.loads(raw)
        except NOT_JSON:
            return response.status, None

    @asynccontextmanager
    async def post(self, path: str, body: Mapping[str, object]) -> AsyncIterator[Reply]:
        """Stream the reply to a POST. Leaving early closes the connection, which the server notices.

        A connection that the server had already given up is replaced by a new one: nothing of an answer has
        come then.
        """
        response = await self._send("POST", self.base_url + path, body)
        try:
            self._check_redirect(response)
            wait_s = retry_after_s(response.headers.get("Retry-After", ""))
            yield Reply(response.status, self._pieces(response), wait_s)
            with suppress(TimeoutError, StreamBroken):
                async with asyncio.timeout(LAST_BYTES_S):
                    async for _ in self._pieces(response):
                        pass
        finally:
            # After the last byte this is a no-op; before it the socket is closed instead of being put back.
            response.close()

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        raw = bytearray()
        async for piece in response.content.iter_any():
            raw += piece
            if len(raw) > MAX_REPLY_BYTES:
                raise EngineUnavailable(
                    f"{self.base_url} answers a question with more than {MAX_REPLY_BYTES} bytes"
                )
        return bytes(raw)

    async def _send(self, method: str, url: str, body: Mapping[str, object] | None) -> aiohttp.ClientResponse:
        """Ask, and ask again where the same host says that it moved the path and the method stays.

        No other host: our headers hold a key. Not from https to http either.
        """
        for _ in range(MOST_HOPS):
            response = await self._sent(method, url, body)
            target, here = _target(response), URL(url)
            keeps_method = method == "GET" or response.status in KEEPS_METHOD
            if target is None or not keeps_method or target.host != here.host:
                break
            if here.scheme == "https" != target.scheme:
                break
            url = str(target)
            response.close()
        return response

    async def _sent(self, method: str, url: str, body: Mapping[str, object] | None) -> aiohttp.ClientResponse:
        session = self._opened()
        started_s = self._clock()
        try:
            try:
                return await session.request(method, url, json=body, allow_redirects=False)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if self._afresh is None or self._clock() - started_s > STALE_CONNECTION_S:
                    raise
                return await self._afresh.request(method, url, json=body, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(error) from error

    def _check_redirect(self, response: aiohttp.ClientResponse) -> None:
        """A call that is sent elsewhere would become a GET, or show a stranger its prompt and our key."""
        target = _target(response)
        if target is not None:
            place = target.with_query(None).with_user(None).with_fragment(None)
            raise EngineUnavailable(f"{self.base_url} redirects to {place}: give that address instead")

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for piece in response.content.iter_any():
                yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StreamBroken(f"{self.base_url} broke off: {error or type(error).__name__}") from error

    def _unavailable(self, error: Exception) -> EngineUnavailable:
        kind = Unreached if isinstance(error, _NEVER_CONNECTED) else EngineUnavailable
        return kind(f"{self.base_url} does not answer: {error or type(error).__name__}")


async def error_of(pieces: AsyncIterator[bytes]) -> object:
    """The JSON of an error reply, read up to a bound; {"error": text} when it is not JSON."""
    raw = b""
    async for piece in pieces:
        raw += piece
        if len(raw) > MAX_ERROR_BYTES:
            break
    return error_in(raw)


def error_in(raw: bytes) -> object:
    """The JSON of an error reply; {"error": text} where it is not JSON, of a page for people its title."""
    try:
        return json.loads(raw)
    except NOT_JSON:
        return {"error": title_of(raw) if is_page(raw) else raw[:500].decode(errors="replace")}


async def peeked(pieces: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """What a body begins with (the first byte that is no space or mark), and the whole of it."""
    begin = b""
    async for piece in pieces:
        begin += piece
        if (first := _begin(begin)) or len(begin) > MAX_ERROR_BYTES:
            return first, _again(begin, pieces)
    return b"", _again(begin, pieces)


async def whole(pieces: AsyncIterator[bytes]) -> object:
    """A body that is one JSON value; None where it is not. Raises StreamBroken where it has no end."""
    raw = bytearray()
    async for piece in pieces:
        raw += piece
        if len(raw) > MAX_LINE_BYTES:
            raise StreamBroken(f"the engine sent a body of more than {MAX_LINE_BYTES} bytes")
    try:
        return json.loads(bytes(raw).removeprefix(BOM))
    except NOT_JSON:
        return None


def is_page(raw: bytes) -> bool:
    """Whether a body is HTML: what a proxy or a web site says, not an engine."""
    return _begin(raw) == b"<"


def title_of(raw: bytes) -> str:
    """What a page of HTML says in short."""
    found = _TITLE.search(raw)
    return " ".join(found.group(1).decode(errors="replace").split()) if found else "a page of HTML"


def _begin(raw: bytes) -> bytes:
    return raw.removeprefix(BOM).lstrip()[:1]


async def _again(begin: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield begin
    async for piece in pieces:
        yield piece


def _target(response: aiohttp.ClientResponse) -> URL | None:
    place = response.headers.get("Location")
    if response.status not in REDIRECTS or not place:
        return None
    try:
        return response.url.join(URL(place))
    except ValueError:
        return response.url


def retry_after_s(told: str) -> float | None:
    """What `Retry-After` says, seconds or a date, bounded; None where it says neither."""
    told = told.strip()
    try:
        wait_s = float(told) if told.replace(".", "", 1).isdigit() else _until(told)
    except (ValueError, OverflowError):
        return None
    return min(MOST_RETRY_S, max(0.0, wait_s))


def _until(date: str) -> float:
    when = parsedate_to_datetime(date)
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return (when - datetime.now(UTC)).total_seconds()
