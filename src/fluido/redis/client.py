"""`redis.asyncio.Redis` whose ordinary commands share one connection."""

import inspect
import logging
import time
import warnings
import weakref
from typing import Any, Self, cast

import redis.asyncio
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.observability.recorder import record_error_count, record_operation_duration
from redis.client import EMPTY_RESPONSE, NEVER_DECODE

from fluido.metrics import FlowStats
from fluido.redis import blocking
from fluido.redis.adapter import Reply, Unfit, obstacle
from fluido.redis.counts import Counts, Tally
from fluido.redis.link import Link
from fluido.redis.lost import Elsewhere
from fluido.redis.mux import Mux, NotOpened, mux_of
from fluido.redis.pipeline import Pipeline
from fluido.redis.retrying import (
    Answer,
    Failure,
    attempt,
    failure_in,
    persist,
    raise_or,
    repeatable,
    rough_bytes,
)
from fluido.redis.routing import PLAIN, Kind, kind_of, server_wait_s
from fluido.redis.sharing import Sharing

_log = logging.getLogger("fluido.redis")
_stock = redis.asyncio.Redis
# CaseInsensitiveDict.get writes the name in upper case every time; ours already is.
_callback_of: Any = dict.get
_NONE: frozenset[int] = frozenset()
_FIRST = frozenset({0})


class Redis(redis.asyncio.Redis):
    """A drop-in for `redis.asyncio.Redis`: the same arguments, plus `sharing`.

    Ordinary commands of all tasks travel over one connection of the pool and are written once a tick of the
    loop. Blocking commands, pub/sub, MONITOR, WATCH and whatever is unknown take a connection of their own,
    as before. Where redis-py's private parts have moved, or the pool is not redis-py's, everything takes
    the ordinary path; `counts().fallback` says why, and the log says it once.
    """

    def __init__(self, *args: Any, sharing: Sharing | None = None, **kwargs: Any) -> None:
        self.sharing = sharing or Sharing()
        self._mux: Mux | None = None
        self._aside: str | None = None  # why this client stays on the ordinary path
        super().__init__(*args, **kwargs)

    @classmethod
    def from_url(cls, url: str, *args: Any, sharing: Sharing | None = None, **kwargs: Any) -> Self:
        """As redis-py's, plus `sharing`."""
        client = cast("Self", super().from_url(url, *args, **kwargs))
        client.sharing = sharing or client.sharing
        return client

    @classmethod
    def from_pool(cls, connection_pool: ConnectionPool, *, sharing: Sharing | None = None) -> Self:
        """As redis-py's, plus `sharing`. `Sentinel.master_for(redis_class=Redis)` comes through here."""
        client = cast("Self", super().from_pool(connection_pool))
        client.sharing = sharing or client.sharing
        return client

    # Every typed command of redis-py ends here. Above `await future` is the fast path: a look at the link,
    # one look-up, one append. Nothing is awaited before the command is queued; no task and no timer is
    # made.
    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command and return a parsed response."""
        mux = self._mux
        link = mux.link if mux is not None else None
        if (
            mux is None
            or link is None
            or link.observed
            or args[0] not in PLAIN
            or self.connection is not None
            or self.connection_pool is not mux.pool
            or self._aside is not None
        ):
            return await self._by_kind(args, options)
        try:
            if not link.open:
                link = await mux.ready(1, rough_bytes((args,)))
            future = link.submit(link.pack(args), raw=NEVER_DECODE in options)
        except (Elsewhere, NotOpened) as refusal:
            if isinstance(refusal, Elsewhere) or mux.fallback is not None:
                return await self._by_kind(args, options)
            raise refusal.error from None
        reply = await future
        if isinstance(reply, Exception):
            return await self._troubled(mux, link, args, options, reply)
        callback = _callback_of(self.response_callbacks, args[0])
        if callback is None:
            return reply
        if options:
            return await self._parsed(callback, reply, options)
        value = callback(reply)
        return await value if inspect.isawaitable(value) else value

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """As redis-py's. Without WATCH its commands travel over the shared connection, in one piece."""
        return Pipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint, self._multiplexer
        )

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """As redis-py's: what is in flight fails when the pool is closed."""
        closes_pool = close_connection_pool or (
            close_connection_pool is None and self.auto_close_connection_pool
        )
        if self._mux is not None and closes_pool:
            await self._mux.aclose()
        await super().aclose(close_connection_pool)

    def stats(self) -> FlowStats:
        """The shared connections as a flow: commands in flight and waiting, the window and its reasons."""
        mux = self._mux
        return mux.stats() if mux is not None else FlowStats(name="redis", kind="redis")

    def counts(self) -> Counts:
        """Writes by size, links by what became of them, and how many commands took which way."""
        mux = self._mux
        return mux.tally.frozen(mux.fallback) if mux is not None else Tally().frozen(self._aside)

    # -- the general path --

    def _multiplexer(self) -> Mux | None:
        """The mux of this client's pool, or None while everything has to take the ordinary path."""
        pool = self.connection_pool
        if self.connection is not None or self.single_connection_client or self._aside is not None:
            return None
        mux = self._mux
        if mux is None or mux.pool is not pool:
            if not isinstance(pool, ConnectionPool) or pool.max_connections <= self.sharing.links:
                return None
            reason = obstacle() or self._overridden()
            if reason is not None:
                self._aside = reason
                _log.warning("commands are not multiplexed: %s", reason)
                return None
            mux = self._mux = mux_of(pool, self.sharing)
            if self.auto_close_connection_pool:
                weakref.finalize(self, Mux.abandon, mux).atexit = False
        return mux if mux.fallback is None else None

    def _overridden(self) -> str | None:
        for name in ("parse_response", "_send_command_parse_response"):
            if getattr(type(self), name) is not getattr(_stock, name) or name in vars(self):
                return f"{type(self).__name__}.{name} is not redis-py's own"
        return None

    async def _by_kind(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        mux = self._multiplexer()
        if mux is None:
            return await self._ordinary(args, options)
        kind = kind_of(args)
        if kind in {Kind.SHARED, Kind.AUTH}:
            try:
                return await self._recorded(mux, args, options)
            except Unfit:
                return await self._ordinary(args, options)
        if kind is Kind.WAITING:
            return await self._wait_for_replicas(mux, args, options)
        if kind is Kind.BLOCKING:
            mux.tally.blocking += 1
            return await blocking.execute(cast("Any", self), args, options)
        if kind is Kind.SELECT:
            self._aside = "SELECT was called"
            warnings.warn(
                "SELECT changes one connection of the pool, not the client: this client no longer shares "
                "its connection. Pass db= to the constructor instead.",
                RuntimeWarning,
                stacklevel=4,
            )
        mux.tally.ordinary += 1
        return await self._ordinary(args, options)

    async def _ordinary(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """redis-py's own way: a connection of the pool for this one command."""
        stock: Any = super()
        return await stock.execute_command(*args, **options)

    async def _recorded(self, mux: Mux, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """`_shared`, told to redis-py's OpenTelemetry recorder if that is on."""
        if mux.link is not None and not mux.link.observed:
            return await self._shared(mux, args, options, None)
        started_s = time.monotonic()
        settings: dict[str, Any] = self.connection_pool.connection_kwargs
        host: Any = settings.get("host")
        port: Any = settings.get("port")
        try:
            result = await self._shared(mux, args, options, None)
        except Exception as error:
            await record_error_count(
                server_address=host,
                server_port=port,
                network_peer_address=host,
                network_peer_port=port,
                error_type=error,
                retry_attempts=0,
                is_internal=False,
            )
            raise
        await record_operation_duration(
            command_name=args[0],
            duration_seconds=time.monotonic() - started_s,
            server_address=host,
            server_port=port,
            db_namespace=str(settings.get("db", 0)),
        )
        return result

    async def _shared(
        self, mux: Mux, args: tuple[Any, ...], options: dict[str, Any], first: Failure | None
    ) -> Any:
        raw = _FIRST if NEVER_DECODE in options else _NONE
        again = repeatable(mux.sharing, (args,))

        def packed(link: Link) -> list[bytes]:
            return [link.pack(args) if args[0] in PLAIN else link.wire.pack_in_python(args)]

        async def send() -> Answer | Failure:
            return await attempt(mux, (args,), packed, raw, repeatable=again)

        answer = await persist(mux, first or await send(), send)
        return await self._finish(args[0], answer.replies[0], options)

    async def _wait_for_replicas(self, mux: Mux, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """WAIT speaks of the writes of its own connection: it goes over the shared one, which retires."""
        try:
            link = await mux.ready()
        except NotOpened as refusal:
            raise refusal.error from None
        future = link.submit(link.wire.pack_in_python(args))
        link.allow_silence(server_wait_s(args))
        link.retire("WAIT")
        reply = await future
        return await self._finish(args[0], getattr(reply, "error", reply), options)

    async def _troubled(
        self, mux: Mux, link: Link, args: tuple[Any, ...], options: dict[str, Any], reply: Exception
    ) -> Any:
        failure = failure_in(reply, link, repeatable=repeatable(mux.sharing, (args,)))
        if failure is not None:
            return await self._shared(mux, args, options, failure)
        return await self._finish(args[0], reply, options)

    async def _finish(self, name: Any, reply: Reply, options: dict[str, Any]) -> Any:
        reply = raise_or(reply, options.get(EMPTY_RESPONSE), has_default=EMPTY_RESPONSE in options)
        callbacks = self.response_callbacks
        return await self._parsed(callbacks[name], reply, options) if name in callbacks else reply

    async def _parsed(self, callback: Any, reply: Reply, options: dict[str, Any]) -> Any:
        for key in (NEVER_DECODE, EMPTY_RESPONSE, "keys"):
            options.pop(key, None)
        value = callback(reply, **options)
        return await value if inspect.isawaitable(value) else value
