"""The only file that touches redis-py's private parts.

It borrows a connection from the user's own pool, so that handshake, credentials, TLS, SELECT, Sentinel and
maintenance notifications stay redis-py's work, then hands its transport and its reply reader to a link.
`obstacle` and `unfit` look first: whoever gets a reason from them stays on redis-py's ordinary path.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast

import redis.asyncio.sentinel
from redis._parsers.encoders import Encoder
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.observability.providers import get_observability_instance

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

__all__ = ["NOT_ENOUGH_DATA", "Reply", "Unfit", "Wire", "hiredis", "observed", "obstacle", "take"]

Reply = Any
_CONNECTION_PARTS: Final = (
    "_reader", "_writer", "_parser", "_re_auth_token", "socket_timeout", "should_reconnect", "retry",
    "encoder", "_host_error", "pack_command", "disconnect",
)  # fmt: skip
_POOL_PARTS: Final = ("get_connection", "release", "max_connections", "connection_kwargs")


class Unfit(Exception):
    """This pool's connections cannot be shared; the text says why."""


@cache
def obstacle() -> str | None:
    """Why no connection of the installed redis-py can be shared; None when nothing stands in the way."""
    if hiredis is None or not hasattr(hiredis, "PushNotification"):
        return "hiredis 3.2 or newer is not installed"
    inert = Connection()
    missing: list[str] = [part for part in _CONNECTION_PARTS if not hasattr(inert, part)]
    missing += [part for part in _POOL_PARTS if not hasattr(ConnectionPool(), part)]
    missing += [
        part for part in ("_reader", "handle_push_response") if not hasattr(_AsyncHiredisParser(1), part)
    ]
    return f"redis-py has moved {', '.join(missing)}" if missing else None


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
    return get_observability_instance().get_provider_manager() is not None


class Wire:
    """A borrowed connection: its transport and reader for a link, everything else still redis-py's."""

    def __init__(self, pool: ConnectionPool, connection: AbstractConnection) -> None:
        self.pool = pool
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
        """Packs a command whose name is one word; raises what redis-py raises for arguments it refuses."""
        pack_in_python = self.pack_in_python
        if not self._c_packer:
            return pack_in_python
        pack_in_c = hiredis.pack_command

        def pack(args: tuple[Any, ...]) -> bytes:
            # hiredis ignores the stride of a memoryview, and refuses bytearray, bool and None.
            if memoryview in map(type, args):
                args = tuple(arg.tobytes() if type(arg) is memoryview else arg for arg in args)
            try:
                packed: bytes = pack_in_c(args)
            except (TypeError, ValueError):
                return pack_in_python(args)
            return packed

        return pack

    def pack_in_python(self, args: tuple[Any, ...]) -> bytes:
        """redis-py's own packer."""
        return b"".join(cast("Any", self.connection).pack_command(*args))

    @property
    def timeout_s(self) -> float | None:
        """The socket timeout now: maintenance notifications change it on the fly."""
        timeout_s: float | None = self.connection.socket_timeout
        return timeout_s

    @property
    def marked_for_reconnect(self) -> bool:
        """Whether redis-py wants this connection replaced after what is in flight."""
        return bool(cast("Any", self.connection).should_reconnect())

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

    async def give_back(self) -> None:
        """Close the connection and return it to its pool, which will open it again when it is needed."""
        try:
            await self.connection.disconnect(nowait=True)
        finally:
            with contextlib.suppress(KeyError, ValueError):  # the pool was reset and has forgotten it
                await self.pool.release(self.connection)

    def forget(self) -> None:
        """Drop a connection whose loop is closed; nothing of it may be awaited any more."""
        private = cast("Any", self.connection)
        private._reader = private._writer = None
        private._parser.on_disconnect()
        cast("Any", self.pool)._in_use_connections.discard(self.connection)


async def take(pool: ConnectionPool) -> Wire:
    """Borrow a connection for sharing.

    Raises what `pool.get_connection` raises, or `Unfit`. A connection whose end of stream has already been
    delivered would wait in vain for the next event (redis-py 8.1.0 may hand one out): it is opened again.
    """
    connection = await _connected(pool)
    try:
        stream = getattr(connection, "_reader", None)
        if isinstance(stream, asyncio.StreamReader) and stream.at_eof():
            await connection.disconnect()
            await cast("Any", connection).connect()
        reason = unfit(connection)
        if reason is not None:
            raise Unfit(reason)
        return Wire(pool, connection)
    except BaseException:
        await pool.release(connection)
        raise


async def _connected(pool: ConnectionPool) -> AbstractConnection:
    untyped: Any = pool
    try:
        return cast("AbstractConnection", await untyped.get_connection())
    except RuntimeError:  # uvloop's transport was closed in the middle of the handshake (redis-py#4287)
        try:
            return cast("AbstractConnection", await untyped.get_connection())
        except RuntimeError as error:
            raise RedisConnectionError(SERVER_CLOSED_CONNECTION_ERROR) from error
