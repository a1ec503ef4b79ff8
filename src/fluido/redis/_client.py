"""`redis.asyncio.Redis` whose ordinary commands share one connection."""

import inspect
import logging
import warnings
import weakref
from typing import Any, Self, Unpack, cast

import redis.asyncio
from redis.asyncio.connection import BlockingConnectionPool, ConnectionPool
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.exceptions import ConnectionError as RedisConnectionError

from fluido._metrics import FlowStats
from fluido.redis import _blocking as blocking
from fluido.redis._adapter import Reply, Unfit, contiguous, exhausted, obstacle
from fluido.redis._bulk import key_of, reply_bytes
from fluido.redis._cancels import attentive
from fluido.redis._counts import Counts, Tally
from fluido.redis._hand import Hands
from fluido.redis._link import Link
from fluido.redis._mux import Mux, NotOpened
from fluido.redis._muxes import Muxes, muxes_of
from fluido.redis._options import Options, signature
from fluido.redis._pipeline import Pipeline
from fluido.redis._poolstate import stats_of
from fluido.redis._retrying import (
    Answer,
    Failure,
    attempt,
    failure_in,
    persist,
    raise_or,
    repeatable,
    rough_bytes,
)
from fluido.redis._routing import PLAIN, Kind, canonical, kind_of, only_reads, server_wait_s
from fluido.redis._sharing import Sharing
from fluido.redis._standin import WRAPPING, Inert, Once, Standin, execute_command
from fluido.redis._watch import Elsewhere, Lost

_log = logging.getLogger("fluido.redis")
_stock = redis.asyncio.client.Redis
# CaseInsensitiveDict.get writes the name in upper case every time; ours already is.
_callback_of: Any = dict.get
_TOLD: set[str] = set()  # each reason is logged once a process
_NONE: frozenset[int] = frozenset()
_FIRST = frozenset({0})
_SINGLE = "single_connection_client"
_WARNINGS = {
    Kind.SELECT: "SELECT changes one connection of the pool, not the client: this client no longer shares "
    "its connection. Pass db= to the constructor instead.",
    Kind.STATE: "{} changes one connection of the pool, and not the one that this client's commands share. "
    "Pass client_name= or redis_connect_func= to the constructor, which reach every connection.",
    Kind.HAND: "{} was sent by hand: until EXEC, DISCARD or UNWATCH the commands of this task have a "
    "connection of their own, those of other tasks do not. Use pipeline() or transaction() instead.",
}


class Redis(redis.asyncio.Redis):
    """A drop-in for `redis.asyncio.Redis`: the same arguments, plus `sharing`.

    Ordinary commands of all tasks travel over one connection of the pool and are written once a tick of the
    loop. Blocking commands, large values, pub/sub, MONITOR, WATCH and whatever is unknown take a connection
    of their own, as before. Where redis-py's private parts have moved, or the pool is not redis-py's,
    everything takes the ordinary path; `counts().fallback` says why, and the log says it once.

    Raises ValueError when `sharing` asks for other links than another client of the same pool has.
    """

    def __init__(self, *, sharing: Sharing | None = None, **options: Unpack[Options]) -> None:
        self.sharing = sharing or Sharing()
        self._mux: Mux | None = None
        self._muxes: Muxes | None = None
        self._aside: str | None = None  # why this client stays on the ordinary path
        self._special = False  # whether that, or a transaction by hand, keeps commands off the fast path
        self._hands = Hands()
        self._tally = Tally()  # of what is done without a mux
        self._warned: set[Kind] = set()
        super().__init__(**options)
        self._choose(sharing)

    @classmethod
    def from_url(
        cls,
        url: str,
        single_connection_client: bool = False,
        auto_close_connection_pool: bool | None = None,
        *,
        sharing: Sharing | None = None,
        **kwargs: Any,
    ) -> Self:
        """As redis-py's, plus `sharing`."""
        made = super().from_url(url, single_connection_client, auto_close_connection_pool, **kwargs)
        client = cast("Self", made)
        client._choose(sharing)
        return client

    @classmethod
    def from_pool(cls, connection_pool: ConnectionPool, *, sharing: Sharing | None = None) -> Self:
        """As redis-py's, plus `sharing`. `Sentinel.master_for(redis_class=Redis)` comes through here."""
        client = cast("Self", super().from_pool(connection_pool))
        client._choose(sharing)
        return client

    def _choose(self, sharing: Sharing | None) -> None:
        self.sharing = sharing or self.sharing
        if isinstance(self.connection_pool, ConnectionPool):
            muxes_of(self.connection_pool).choose(sharing)

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
            or self._special
            or _stock.execute_command is not WRAPPING.method
            or (args[0] in mux.bulk.names and mux.bulk.expects(args))
        ):
            return await self._by_kind(args, options)
        try:
            if not link.open:
                size_bytes = rough_bytes((args,))
                if size_bytes > link.bulk_bytes:
                    return await self._by_kind(args, options)
                link = await mux.ready(1, size_bytes)
            packed = link.pack(args)
            if len(packed) > link.bulk_bytes:
                return await self._by_kind(args, options)
            future = link.submit(packed, raw=NEVER_DECODE in options)
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

    def pubsub(self, **kwargs: Any) -> redis.asyncio.client.PubSub:
        """As redis-py's."""
        return attentive(super().pubsub(**kwargs))

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """As redis-py's. Without WATCH its commands travel over the shared connection, in one piece."""
        return Pipeline(
            self.connection_pool,
            self.response_callbacks,
            transaction,
            shard_hint,
            multiplexer=self._multiplexer,
            sharing=self.sharing,
        )

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """As redis-py's: what is in flight fails when the pool is closed."""
        closes_pool = close_connection_pool or (
            close_connection_pool is None and self.auto_close_connection_pool
        )
        if self._muxes is not None and closes_pool:
            await self._muxes.aclose()
        await super().aclose(close_connection_pool)

    def stats(self) -> FlowStats:
        """The shared connections as a flow: commands in flight and waiting, and the window."""
        mux = self._mux
        return mux.stats() if mux is not None else stats_of(self.connection_pool, self.sharing, self._tally)

    def counts(self) -> Counts:
        """Writes by size, links by what became of them, and how many commands took which way."""
        mux = self._mux
        tally = mux.tally if mux is not None else self._tally
        return tally.frozen(self._aside or (mux.fallback if mux is not None else None))

    # -- the general path --

    def _multiplexer(self) -> Mux | None:
        """The mux of this client's pool and the running loop, or None: all goes the ordinary way."""
        pool: Any = self.connection_pool
        if self.single_connection_client and self._aside is None:
            self._stay_aside(_SINGLE)
        if self.connection is not None or self._aside is not None:
            return None
        muxes = self._muxes
        if muxes is None or muxes.state.pool is not pool:
            reason = obstacle() or self._overridden()
            if reason is None and not isinstance(pool, ConnectionPool):
                reason = f"{type(pool).__name__} is not redis-py's ConnectionPool"
            if reason is not None:
                self._stay_aside(reason)
                return None
            muxes = self._muxes = muxes_of(pool)
            if self.auto_close_connection_pool:
                weakref.finalize(self, Muxes.abandon, muxes).atexit = False
        mux = self._mux = muxes.here()
        return mux if mux.fallback is None else None

    def _stay_aside(self, reason: str) -> None:
        self._aside = reason
        self._special = True
        # Such a client is often made for a single `async with`.
        level = logging.INFO if reason == _SINGLE else logging.WARNING
        if reason not in _TOLD:
            _TOLD.add(reason)
            _log.log(level, "commands are not multiplexed: %s", reason)

    def _overridden(self) -> str | None:
        for name in ("parse_response", "_send_command_parse_response"):
            if getattr(type(self), name) is not getattr(_stock, name) or name in vars(self):
                return f"{type(self).__name__}.{name} is not redis-py's own"
        return None

    async def _by_kind(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        mux = self._multiplexer()
        if mux is None:
            tally = self._tally if self._mux is None else self._mux.tally
            tally.ordinary += 1
            return await self._ordinary(args, options)
        kind = kind_of(args)
        hand = self._hands.mine() if self._special else None
        if hand is not None or kind is Kind.HAND:
            return await self._by_hand(mux, kind, args, options)
        if kind in {Kind.SHARED, Kind.AUTH}:
            large = rough_bytes((args,)) > mux.sharing.bulk_bytes and not mux.state.loops_at_once
            if large or mux.goes_apart(args):
                return await self._apart(mux, args, options)
            try:
                return await self._enclosed(mux, args, options)
            except Unfit:
                return await self._ordinary(args, options)
        if kind is Kind.WAITING:
            return await self._enclosed(mux, args, options)
        await mux.settle()  # what was started before is written before
        if kind is Kind.BLOCKING:
            mux.tally.blocking += 1
            return await blocking.execute(self, args, options)
        if kind is Kind.SELECT:
            self._stay_aside("SELECT was called")
        if kind in _WARNINGS:
            self._warn(kind, args)
        mux.tally.ordinary += 1
        return await self._ordinary(args, options)

    def _warn(self, kind: Kind, args: tuple[Any, ...]) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            what = " ".join(map(canonical, args[:2])).split()
            text = _WARNINGS[kind].format(" ".join(what[: 2 if kind is Kind.STATE else 1]))
            warnings.warn(text, RuntimeWarning, stacklevel=5)

    async def _by_hand(self, mux: Mux, kind: Kind, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """A transaction by hand: its task has a connection of its own until it is over."""
        hand = self._hands.mine()
        await mux.settle()
        if hand is None:
            self._warn(kind, args)
            self._special = True
            hand = await self._hands.begin(self.connection_pool)
        mux.tally.ordinary += 1
        try:
            return await hand.execute(self._hands, self, args, options)
        finally:
            self._special = self._aside is not None or bool(self._hands)

    async def _apart(self, mux: Mux, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """A large value on a connection of its own, if the pool has one left."""
        pool: Any = self.connection_pool
        if isinstance(pool, BlockingConnectionPool) or pool.can_get_connection():
            await mux.settle()
            mux.tally.bulk += 1
            args = contiguous(args)
            try:
                reply = await self._once_or_ordinary(args, dict(options))
            except RedisConnectionError as error:
                if not exhausted(error):
                    raise
                # Others were faster: there is room on the shared one.
            else:
                if rough_bytes((args,)) <= mux.sharing.bulk_bytes:
                    if reply_bytes(reply, mux.sharing.bulk_bytes) < mux.sharing.bulk_bytes:
                        mux.bulk.small(args)
                    else:
                        mux.bulk.large(canonical(args[0]), key_of(args))
                return reply
        return await self._enclosed(mux, args, options)

    def _goes_apart(self, mux: Mux, args: tuple[Any, ...], failure: Failure) -> bool:
        link = failure.link
        return (
            link is not None
            and failure.again
            and only_reads(args)
            and mux.goes_apart(args)
            and link.wire.may_retry(failure.error)
            and link.wire.retries != 0
            and bool(self.connection_pool.can_get_connection())
        )

    async def _once_or_ordinary(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if repeatable(self.sharing, (args,)):
            return await self._ordinary(args, options)
        once = Once(_stock._send_command_parse_response)
        return await once.run(
            execute_command(Standin(self, _send_command_parse_response=once.bound(self)), args, options)
        )

    async def _ordinary(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """redis-py's own way: a connection of the pool for this one command."""
        stock: Any = super()
        return await stock.execute_command(*args, **options)

    async def _enclosed(self, mux: Mux, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Over the shared connection; inside of what wraps redis-py's `execute_command`, if anything does."""
        over = self._wait_for_replicas if kind_of(args) is Kind.WAITING else self._shared
        if not WRAPPING.of_commands():
            return await over(mux, args, options)

        async def step(_connection: Any, _name: Any, *args: Any, **options: Any) -> Any:
            return await over(mux, args, options)

        await mux.prove()
        if mux.fallback is not None:
            raise Unfit(mux.fallback)
        inert = Inert(self.connection_pool.connection_kwargs)
        standin = Standin(self, connection=inert, _send_command_parse_response=step)
        return await execute_command(standin, args, options)

    async def _shared(
        self, mux: Mux, args: tuple[Any, ...], options: dict[str, Any], first: Failure | None = None
    ) -> Any:
        raw = _FIRST if NEVER_DECODE in options else _NONE
        again = repeatable(self.sharing, (args,))

        def packed(link: Link) -> list[bytes]:
            return [link.pack(args)]

        async def send() -> Answer | Failure:
            return await attempt(mux, (args,), packed, raw, repeatable=again)

        result = first or await send()
        if isinstance(result, Failure) and self._goes_apart(mux, args, result):
            # Its reply is large and did not come in time: again, but in nobody's way.
            return await self._ordinary(contiguous(args), options)
        answer = await persist(mux, result, send)
        return await self._finish(args[0], answer.replies[0], options)

    async def _wait_for_replicas(self, mux: Mux, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """WAIT speaks of the writes of its own connection: it goes over the shared one, which retires."""
        try:
            link = await mux.ready()
        except NotOpened as refusal:
            raise refusal.error from None
        future = link.submit(link.pack(args))
        link.allow_silence(server_wait_s(args))
        link.retire("WAIT")
        reply = await future
        return await self._finish(args[0], getattr(reply, "error", reply), options)

    async def _troubled(
        self, mux: Mux, link: Link, args: tuple[Any, ...], options: dict[str, Any], reply: Exception
    ) -> Any:
        if isinstance(reply, Lost) and not reply.sent:
            mux.tally.moved += 1
            return await self._shared(mux, args, options)
        failure = failure_in(reply, link, repeatable=repeatable(self.sharing, (args,)))
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


cast("Any", Redis.__init__).__signature__ = signature(_stock.__init__)
