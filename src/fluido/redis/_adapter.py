"""The only file that touches redis-py's private parts.

It borrows a connection from the user's own pool, so that handshake, credentials, TLS, SELECT, Sentinel and
maintenance notifications stay redis-py's work, then hands its transport and its reply reader to a link.
`obstacle` and `unfit` look first: who gets a reason from them stays on redis-py's ordinary path.
"""

import asyncio
import contextlib
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from functools import cache, partial
from types import FunctionType
from typing import Any, Final, cast

import redis
import redis.asyncio.client
import redis.asyncio.sentinel
from redis._parsers.encoders import Encoder
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fluido.redis._routing import PLAIN

get_observability_instance: Any
try:
    from redis.observability.providers import get_observability_instance
except ImportError:  # before redis-py 7.2
    get_observability_instance = None

hiredis: Any
try:
    import hiredis
    from redis._parsers.hiredis import NOT_ENOUGH_DATA, _AsyncHiredisParser
    from redis._parsers.socket import SERVER_CLOSED_CONNECTION_ERROR
except ImportError:  # hiredis is absent, or redis-py has moved its parser
    hiredis = None
    NOT_ENOUGH_DATA = object()
    _AsyncHiredisParser = None  # type: ignore[assignment,misc]  # owed to the import that may fail
    SERVER_CLOSED_CONNECTION_ERROR = "Connection closed by server."

__all__ = [
    "NOT_ENOUGH_DATA",
    "Reply",
    "Unfit",
    "Wire",
    "close_idle",
    "contiguous",
    "exhausted",
    "forget_dead",
    "hiredis",
    "observed",
    "obstacle",
    "plain",
    "take",
]

Reply = Any
_USUAL_TYPES: Final = frozenset({str, bytes, int, float})
OLDEST: Final = (6, 4)  # of redis-py whose connections are shared
_CONNECTION_PARTS: Final = (
    "_reader", "_writer", "_parser", "_re_auth_token", "socket_timeout", "retry", "encoder", "_host_error",
    "pack_command", "disconnect",
)  # fmt: skip
_POOL_PARTS: Final = (
    "make_connection", "ensure_connection", "get_connection", "can_get_connection", "release",
    "max_connections", "connection_kwargs", "_in_use_connections", "_available_connections",
)  # fmt: skip
_Client, _Pipeline = redis.asyncio.client.Redis, redis.asyncio.client.Pipeline
# What we call or put in the place of redis-py's own, with so many arguments after `self`.
_CALLS: Final[tuple[tuple[Any, str, int], ...]] = (
    (_Client, "parse_response", 2),
    (_Client, "_send_command_parse_response", 3),
    (_Pipeline, "_execute_transaction", 3),
    (_Pipeline, "_execute_pipeline", 3),
    (_Pipeline, "reset", 0),
    (ConnectionPool, "make_connection", 0),
    (ConnectionPool, "ensure_connection", 1),
    (AbstractConnection, "disconnect", 1),
)
# What redis-py's own code is believed to call on itself, so that a stand-in can answer there.
_INNER: Final[tuple[tuple[Any, str, tuple[str, ...]], ...]] = (
    (_Client, "execute_command", ("connection", "_send_command_parse_response", "get_connection")),
    (_Pipeline, "execute", ("connection", "_execute_transaction", "_execute_pipeline", "reset")),
)
MAX_PUSHES = 1024  # then the connection is not read until the handlers have caught up


class Unfit(Exception):
    """This pool's connections cannot be shared; the text says why."""


def version() -> tuple[int, ...]:
    """Of redis-py: its first two numbers."""
    return tuple(int(part) for part in redis.__version__.split(".")[:2] if part.isdigit())


@cache
def obstacle() -> str | None:
    """Why no connection of the installed redis-py can be shared; None when nothing stands in the way."""
    if version() < OLDEST:
        return f"redis-py {redis.__version__} is older than 6.4"
    if hiredis is None or not hasattr(hiredis, "PushNotification"):
        return "hiredis 3.2 or newer is not installed"
    inert, pool = Connection(), ConnectionPool()
    missing: list[str] = [part for part in _CONNECTION_PARTS if not hasattr(inert, part)]
    missing += [part for part in _POOL_PARTS if not hasattr(pool, part)]
    missing += [
        part for part in ("_reader", "handle_push_response") if not hasattr(_AsyncHiredisParser(1), part)
    ]
    missing += [name for owner, name, count in _CALLS if not _takes(getattr(owner, name, None), count)]
    missing += [
        f"{name} in {caller}"
        for owner, caller, names in _INNER
        if plain(owner, caller)  # of what is wrapped, the inside cannot be seen
        for name in set(names) - _names_in(getattr(owner, caller).__code__)
    ]
    return f"redis-py has moved {', '.join(missing)}" if missing else None


def _takes(function: Any, count: int) -> bool:
    """Whether it can be called with so many positional arguments after `self`."""
    if function is None:
        return False
    try:
        inspect.signature(function).bind(*[None] * (count + 1))
    except (TypeError, ValueError):
        return False
    return True


def _names_in(code: Any) -> set[str]:
    """The names that a function uses, also inside its inner functions."""
    inner = [_names_in(each) for each in code.co_consts if inspect.iscode(each)]
    return {*code.co_names}.union(*inner)


def plain(owner: Any, name: str) -> bool:
    """Whether a method of redis-py's client module is what redis-py wrote, and no tracer's wrapper."""
    function = getattr(owner, name)
    return (
        type(function) is FunctionType
        and function.__globals__ is vars(redis.asyncio.client)
        and function.__code__.co_name == name
    )


def unfit(connection: AbstractConnection) -> str | None:
    """Why this connection cannot be shared; None when it can."""
    kind = type(connection)
    readers = {
        AbstractConnection.read_response,
        redis.asyncio.sentinel.SentinelManagedConnection.read_response,
    }
    if kind.read_response not in readers:
        return f"{kind.__name__}.read_response is not redis-py's own"
    for name in ("send_command", "send_packed_command", "pack_command"):
        if getattr(kind, name) is not getattr(AbstractConnection, name):
            return f"{kind.__name__}.{name} is not redis-py's own"
    parser = cast("Any", connection)._parser
    if type(parser) is not _AsyncHiredisParser:
        return f"{type(parser).__name__} is not the hiredis parser"
    stream, writer = cast("Any", connection)._reader, cast("Any", connection)._writer
    if not isinstance(stream, asyncio.StreamReader) or not isinstance(writer, asyncio.StreamWriter):
        return "the connection does not read from an asyncio stream"
    if not hasattr(stream, "_buffer") or not isinstance(parser._reader, hiredis.Reader):
        return "redis-py has moved its reader"
    return None


def observed() -> bool:
    """Whether redis-py's OpenTelemetry recorder is on."""
    return (
        get_observability_instance is not None
        and get_observability_instance().get_provider_manager() is not None
    )


class Wire:
    """A borrowed connection: its transport and reader for a link, everything else still redis-py's."""

    def __init__(self, pool: ConnectionPool, connection: AbstractConnection, *, alone: bool) -> None:
        self.pool = pool
        self.alone = alone  # its pool never gives it to another loop
        self.connection = connection
        private = cast("Any", connection)
        self.transport: asyncio.Transport = private._writer.transport
        self.original = cast("asyncio.BaseProtocol", self.transport.get_protocol())
        self.reader = private._parser._reader
        self._handle_push = private._parser.handle_push_response
        encoder = connection.encoder
        self._c_packer = (
            type(encoder) is Encoder
            and encoder.encoding.lower() in {"utf-8", "utf8"}
            and encoder.encoding_errors == "strict"
        )
        sentinel_pool = getattr(connection, "connection_pool", None)
        self._of_primary = bool(getattr(sentinel_pool, "is_master", False))
        self._counted = True

    def take_over(self, protocol: asyncio.BufferedProtocol) -> bytes:
        """Let `protocol` have the transport; returns what the stream had read ahead."""
        buffer = cast("Any", self.connection)._reader._buffer
        ahead = bytes(buffer)
        buffer.clear()
        self.transport.set_protocol(protocol)
        # uvloop keeps what is below the mark until the end of the tick; a link has chosen its moment itself.
        # Not 0: with that, TLS over asyncio pauses for ever.
        self.transport.set_write_buffer_limits(high=1)
        if not self.transport.is_reading():
            self.transport.resume_reading()
        return ahead

    def packer(self) -> Callable[[tuple[Any, ...]], bytes]:
        """Packs a command as redis-py would; raises what redis-py raises for arguments it refuses."""
        pack_in_c = hiredis.pack_command
        usual = _USUAL_TYPES.issuperset if self._c_packer else frozenset[type]().issuperset
        pack_in_python = cast("Any", self.connection).pack_command

        def pack(args: tuple[Any, ...]) -> bytes:
            # hiredis knows neither names of two words nor what a class makes of its value.
            if usual(map(type, args)) and args[0] in PLAIN:
                try:
                    packed: bytes = pack_in_c(args)
                except (TypeError, ValueError):
                    pass
                else:
                    return packed
            return b"".join(pack_in_python(*contiguous(args)))

        return pack

    @property
    def timeout_s(self) -> float | None:
        """The socket timeout now: maintenance notifications change it on the fly."""
        timeout_s: float | None = self.connection.socket_timeout
        return timeout_s

    @property
    def marked_for_reconnect(self) -> bool:
        """Whether redis-py wants this connection replaced after what is in flight."""
        should_reconnect = getattr(self.connection, "should_reconnect", None)  # since redis-py 7.1
        return should_reconnect is not None and bool(should_reconnect())

    def take_credentials(self) -> tuple[Any, ...] | None:
        """The AUTH command a rotated credential asks for, once."""
        token = cast("Any", self.connection)._re_auth_token
        if token is None:
            return None
        cast("Any", self.connection)._re_auth_token = None
        return ("AUTH", token.try_get("oid"), token.get_value())

    async def handle_push(self, push: Reply) -> None:
        """Give a push frame to the handlers that redis-py registered."""
        await self._handle_push(push)

    def closed_error(self, cause: BaseException | None) -> RedisError:
        """What redis-py raises when the server closes the connection."""
        if cause is None:
            return RedisConnectionError(SERVER_CLOSED_CONNECTION_ERROR)
        return RedisConnectionError(
            f"Error while reading from {self.connection._host_error()} : {cause.args}"
        )

    def timeout_error(self) -> RedisError:
        """What redis-py raises when a reply does not come in time."""
        return RedisTimeoutError(f"Timeout reading from {self.connection._host_error()}")

    def translate(self, error: Exception) -> Exception:
        """A primary that answers READONLY was demoted: redis-py calls that a lost connection."""
        if self._of_primary and isinstance(error, ReadOnlyError):
            return RedisConnectionError("The previous master is now a slave")
        return error

    def may_retry(self, error: Exception) -> bool:
        """Whether the user's Retry names this class of error."""
        named = getattr(self.connection.retry, "_supported_errors", (RedisConnectionError,))
        return isinstance(error, named)

    @property
    def retries(self) -> int:
        """How often the user's Retry tries again; below 0: for ever."""
        return int(getattr(self.connection.retry, "_retries", 0))

    async def give_back(self) -> None:
        """Close the connection and return it to its pool, which will open it again when it is needed."""
        try:
            await self.connection.disconnect(nowait=True)
        finally:
            if self._counted and not self.alone:
                with contextlib.suppress(KeyError, ValueError):  # the pool was reset and has forgotten it
                    await self.pool.release(self.connection)
            self.leave_pool()

    def forget(self) -> None:
        """Drop a connection whose loop is closed; nothing of it may be awaited any more."""
        private = cast("Any", self.connection)
        private._reader = private._writer = None
        private._parser.on_disconnect()
        self.leave_pool()

    def leave_pool(self) -> None:
        """Take the connection off the pool's books."""
        if self._counted:
            self._counted = False
            _uncount(self.pool, self.connection)


def exhausted(error: Exception) -> bool:
    """Whether a pool has no connection left: no class of its own before redis-py 7.2."""
    return isinstance(error, MaxConnectionsError) or str(error) == "Too many connections"


def contiguous(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with every memoryview as the bytes it shows: redis-py refuses one with a stride."""
    if memoryview in map(type, args):
        return tuple(arg.tobytes() if type(arg) is memoryview else arg for arg in args)
    return args


def _uncount(pool: ConnectionPool, connection: AbstractConnection) -> None:
    cast("Any", pool)._in_use_connections.discard(connection)
    pool.max_connections -= 1


async def close_idle(pool: ConnectionPool) -> None:
    """Close the idle connections of the running loop, which is about to end: no other loop could."""
    loop = asyncio.get_running_loop()
    for connection in tuple(cast("Any", pool)._available_connections):
        if getattr(connection._reader, "_loop", None) is loop:
            await connection.disconnect(nowait=True)


def forget_dead(pool: ConnectionPool) -> None:
    """Drop what connections of closed loops hold: redis-py would try to close it, and fail."""
    untyped: Any = pool
    for connection in (*untyped._available_connections, *untyped._in_use_connections):
        loop = getattr(connection._reader, "_loop", None)
        if loop is not None and loop.is_closed():
            connection._reader = connection._writer = None
            connection._parser.on_disconnect()


async def take(pool: ConnectionPool, *, alone: bool) -> Wire:
    """Borrow a connection for sharing, or, for `alone`, make one as the pool makes its own.

    `alone` is for a pool that several loops use: what is idle in it may belong to another one. The pool
    knows the connection as one in use, so that it is closed, told about credentials and marked for
    maintenance with the others, and has room for one more meanwhile: `max_connections` stays the user's.
    Raises what `pool.get_connection` raises, or `Unfit`. A connection whose end of stream has already been
    delivered would wait in vain for the next event (redis-py 8.1.0 may hand one out): it is opened again.
    """
    pool.max_connections += 1
    connection: AbstractConnection | None = None
    try:
        connection = await _connected(pool, alone=alone)
        stream = getattr(connection, "_reader", None)
        if isinstance(stream, asyncio.StreamReader) and stream.at_eof():
            await connection.disconnect()
            await cast("Any", connection).connect()
        reason = unfit(connection)
        if reason is not None:
            raise Unfit(reason)
        return Wire(pool, connection, alone=alone)
    except BaseException:
        if connection is None:
            pool.max_connections -= 1
        elif alone:
            _uncount(pool, connection)
            await connection.disconnect(nowait=True)
        else:
            pool.max_connections -= 1
            await pool.release(connection)
        raise


async def _connected(pool: ConnectionPool, *, alone: bool) -> AbstractConnection:
    connect: Any = partial(_made, pool) if alone else pool.get_connection
    try:
        return cast("AbstractConnection", await connect())
    except RuntimeError:  # uvloop's transport was closed in the middle of the handshake (redis-py#4287)
        asyncio.get_running_loop()  # raises when it is the loop that has ended
        try:
            return cast("AbstractConnection", await connect())
        except RuntimeError as error:
            raise RedisConnectionError(SERVER_CLOSED_CONNECTION_ERROR) from error


async def _made(pool: ConnectionPool) -> AbstractConnection:
    untyped: Any = pool
    connection: AbstractConnection = untyped.make_connection()
    untyped._in_use_connections.add(connection)
    try:
        await untyped.ensure_connection(connection)
    except BaseException:
        untyped._in_use_connections.discard(connection)
        await connection.disconnect(nowait=True)
        raise
    return connection


class Pushes:
    """Hands frames to an asynchronous handler in the order they came."""

    def __init__(self, handle: Callable[[Reply], Awaitable[None]], transport: asyncio.ReadTransport) -> None:
        self._handle = handle
        self._transport = transport
        self._frames: deque[Reply] = deque()
        self._task: asyncio.Task[None] | None = None

    def take(self, frame: Reply) -> None:
        """Queue one frame."""
        self._frames.append(frame)
        if len(self._frames) == MAX_PUSHES:
            self._transport.pause_reading()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._frames:
                await self._handle(self._frames.popleft())
                if len(self._frames) == MAX_PUSHES - 1 and not self._transport.is_closing():
                    self._transport.resume_reading()
        finally:
            self._task = None
