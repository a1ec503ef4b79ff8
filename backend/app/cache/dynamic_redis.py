"""The customer's cache: JSON values in Redis, and a dead Redis is a miss, never an error."""

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from app.cache.bounds import CacheBounds, CacheStats
from app.cache.entry import Entry, Packed
from app.cache.index import Index
from app.core.adaptive_buffers import POLICY, DataFlowType, DynamicBufferConfig
from fluido import span
from fluido.errors import Closed
from fluido.redis import Redis, RedisError, Sharing, once

MAX_KEY_BYTES = 200  # longer keys are stored under their digest
PIECE_BYTES = 128 << 10  # of many values, what is packed and sent before the loop gets its turn again
_log = logging.getLogger("app.cache")


class DynamicRedisCache:
    """Inert when built: without `open` every read is a miss and every write is dropped.

    Takes a URL, whose client it makes by its policy and closes, or a client, which stays its owner's. After a
    failure Redis is left alone for `pause_s`, so that a dead one costs its callers one timeout, not one each.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Redis | None = None,
        namespace: str = "sentinel",
        bounds: CacheBounds | None = None,
        policy: DynamicBufferConfig = POLICY[DataFlowType.CACHE_OPERATION],
        pause_s: float = 1.0,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.bounds = bounds or CacheBounds()
        self.counts = CacheStats()
        self._url = url
        self._given = client
        self._namespace = namespace
        self._policy = policy
        self._pause_s = pause_s
        self._clock = clock
        self._chance = chance
        self._client: Redis | None = None
        self._flights: dict[str, asyncio.Task[Any]] = {}
        self._paused_until_s = 0.0
        self._names = Index()

    def configure(
        self,
        url: str | None = None,
        *,
        client: Redis | None = None,
        namespace: str | None = None,
        bounds: CacheBounds | None = None,
    ) -> None:
        """Say where Redis is before `open`; what is not named stays. Bounds may change at any time."""
        self._url = url or self._url
        self._given = client or self._given
        self._namespace = namespace or self._namespace
        self.bounds = bounds or self.bounds

    def obey(self, policy: DynamicBufferConfig) -> None:
        """Take bounds of entries, timeouts and the width of the link from a policy, before `open`."""
        self._policy = policy
        entries = policy.cache_max_entries
        self.bounds = replace(self.bounds, ttl_s=policy.need("cache_ttl_s"), max_entries=entries)

    def live(self) -> dict[str, float | None]:
        """The values in force now, by the names of `DynamicBufferConfig`."""
        found: dict[str, float | None] = {
            "cache_ttl_s": self.bounds.ttl_s,
            "cache_max_entries": self.bounds.max_entries,
        }
        if self._client is not None:
            sharing = self._client.sharing
            found |= {
                "pool_max_size": round(self._client.stats().value) or sharing.window,
                "max_waiting": sharing.max_waiting,
                "write_buffer_size": sharing.max_bytes,
            }
        return found

    async def open(
        self,
        url: str | None = None,
        *,
        client: Redis | None = None,
        namespace: str | None = None,
        bounds: CacheBounds | None = None,
    ) -> None:
        """Configure, and begin to use Redis. Connects with the first command. Idempotent."""
        self.configure(url, client=client, namespace=namespace, bounds=bounds)
        if self._client is not None:
            return
        if self._given is not None:
            self._client = self._given
        elif self._url is not None:
            self._client = Redis.from_url(
                self._url,
                retry=once(),
                socket_timeout=self._policy.need("read_timeout_s"),
                socket_connect_timeout=self._policy.need("connect_timeout_s"),
                sharing=Sharing(
                    window=int(self._policy.need("pool_max_size")),
                    max_bytes=int(self._policy.need("write_buffer_size")),
                    max_waiting=int(self._policy.need("max_waiting")),
                ),
            )
        else:
            raise ValueError("a cache needs a URL or a client")
        self._paused_until_s = 0.0

    async def close(self) -> None:
        """Stop computing, count the entries, forget the client, close it if it was made here. Idempotent."""
        if self._names:
            await self._ask(self._trim, "the index")
        client, self._client = self._client, None
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        if client is not None and client is not self._given:
            await client.aclose()

    @property
    def client(self) -> Redis | None:
        """The Redis client while the cache is open."""
        return self._client

    def stats(self) -> CacheStats:
        """A copy of the counts."""
        return replace(self.counts)

    async def check(self) -> str:
        """Ask Redis, whatever happened before; the answer in a few words. Raises ConnectionError."""
        if self._client is None:
            raise ConnectionError("the cache is not open")
        begun_s = time.perf_counter()
        try:
            await self._client.ping()
        except RedisError as error:
            raise ConnectionError(str(error)) from error
        self._paused_until_s = 0.0
        return f"answers in {(time.perf_counter() - begun_s) * 1e3:.1f} ms"

    async def get(self, key: str, default: Any = None, *, parse: Callable[[Any], Any] | None = None) -> Any:
        """The fresh value under `key`, or `default`. A value that `parse` raises on is a miss."""
        entry = await self._read(key)
        if entry is not None and entry.fresh(self._clock()):
            try:
                value = entry.value if parse is None else parse(entry.value)
            except (ValueError, TypeError, LookupError, AttributeError):
                self.counts.corrupt += 1
            else:
                self.counts.hits += 1
                return value
        self.counts.misses += 1
        return default

    async def batch_get(self, keys: Iterable[str]) -> dict[str, Any]:
        """The fresh values of those keys that have one, read in one command."""
        wanted = list(dict.fromkeys(keys))
        packed = await self._ask(lambda client: client.mget([self._name(key) for key in wanted]), wanted)
        now_s = self._clock()
        found: dict[str, Any] = {}
        for key, piece in zip(wanted, packed or [None] * len(wanted), strict=True):
            entry = self._unpack(piece)
            if entry is not None and entry.fresh(now_s):
                found[key] = entry.value
        self.counts.hits += len(found)
        self.counts.misses += len(wanted) - len(found)
        return found

    async def set(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Store a JSON value for `ttl` seconds; whether it was stored."""
        return await self._write(key, value, ttl, cost_s=0.0)

    async def batch_set(self, entries: Iterable[tuple[str, Any]], ttl: float | None = None) -> int:
        """Store JSON values for `ttl` seconds, some `PIECE_BYTES` in one round trip; how many were stored.

        `entries` may be lazy: each is asked for when its turn comes, and no more once Redis is away.
        """
        stored = 0
        for piece in self._pieces(entries, ttl):
            stored += await self._store(piece)
        return stored

    async def delete(self, *keys: str) -> int:
        """Forget keys; how many there were."""
        names = [self._name(key) for key in keys]
        self._names.drop(names)

        async def forget(client: Redis) -> Any:
            if self.bounds.max_entries is None:
                return await client.delete(*names)
            pipeline = client.pipeline(transaction=False)
            pipeline.delete(*names)
            pipeline.zrem(self._index, *names)
            return (await pipeline.execute())[0]

        return int(await self._ask(forget, names) or 0)

    async def get_or_compute(
        self, key: str, compute: Callable[[], Awaitable[Any]], ttl: float | None = None
    ) -> Any:
        """The value under `key`, or what `compute` returns, which is stored.

        Of many callers of this process one computes and all get its result, or its exception. The
        computation is its own task: it goes on when the caller that began it is cancelled. Raises Closed
        when the cache is closed meanwhile.
        """
        entry = await self._read(key)
        now_s = self._clock()
        if entry is not None and entry.fresh(now_s):
            self.counts.hits += 1
            if entry.due_early(now_s, max(self._chance(), 1e-300), self.bounds.eagerness):
                self.counts.early += self._begin(key, compute, ttl) is not None
            return entry.value
        if entry is not None and now_s < entry.fresh_until_s + self.bounds.stale_s:
            self.counts.stale += 1
            self._begin(key, compute, ttl)
            return entry.value
        self.counts.misses += 1
        flight = self._flights.get(key)
        if flight is not None:
            self.counts.joined += 1
        else:
            flight = self._begin(key, compute, ttl)
        if flight is None:
            return await self._compute(key, compute, ttl)
        try:
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled():
                raise Closed("the cache was closed while a value was computed") from None
            raise

    def _begin(
        self, key: str, compute: Callable[[], Awaitable[Any]], ttl: float | None
    ) -> asyncio.Task[Any] | None:
        """Start computing, unless somebody does already or too many do."""
        if key in self._flights or len(self._flights) >= self.bounds.max_flights:
            return None
        flight = asyncio.create_task(self._compute(key, compute, ttl))
        self._flights[key] = flight

        def landed(task: asyncio.Task[Any]) -> None:
            self._flights.pop(key, None)
            if not task.cancelled() and task.exception() is not None:
                _log.debug("computing a cached value failed: %r", task.exception())

        flight.add_done_callback(landed)
        return flight

    async def _compute(self, key: str, compute: Callable[[], Awaitable[Any]], ttl: float | None) -> Any:
        begun_s = self._clock()
        self.counts.computed += 1
        value = await compute()
        await self._write(key, value, ttl, cost_s=max(0.0, self._clock() - begun_s))
        return value

    # -- Redis --

    async def _read(self, key: str) -> Entry | None:
        return self._unpack(await self._ask(lambda client: client.get(self._name(key)), key))

    async def _write(self, key: str, value: Any, ttl: float | None, *, cost_s: float) -> bool:
        packed = self._pack(key, value, ttl, cost_s)
        return packed is not None and await self._store([packed]) == 1

    def _pack(self, key: str, value: Any, ttl: float | None, cost_s: float) -> Packed | None:
        bounds = self.bounds
        ttl_s = min(bounds.ttl_s if ttl is None else ttl, bounds.max_ttl_s)
        if not ttl_s > 0:
            return None
        ends_s = self._clock() + ttl_s
        try:
            data = Entry(value, ends_s, cost_s).pack()
        except (TypeError, ValueError):
            self.counts.refused += 1
            return None
        if len(data) > bounds.max_value_bytes:
            self.counts.refused += 1
            return None
        life_ms = max(1, round((ttl_s + bounds.stale_s) * 1e3))
        return Packed(self._name(key), data, life_ms, ends_s + bounds.stale_s)

    def _pieces(self, entries: Iterable[tuple[str, Any]], ttl: float | None) -> Iterator[list[Packed]]:
        """Nothing is asked of `entries` while Redis is away."""
        piece: list[Packed] = []
        size = 0
        queue = iter(entries)
        while self._client is not None and self._clock() >= self._paused_until_s:
            entry = next(queue, None)
            if entry is None:
                break
            if (packed := self._pack(*entry, ttl, cost_s=0.0)) is not None:
                piece.append(packed)
                size += len(packed.data)
            if size >= PIECE_BYTES:
                yield piece
                piece, size = [], 0
        if piece:
            yield piece

    async def _store(self, piece: Sequence[Packed]) -> int:
        async def store(client: Redis) -> int:
            if len(piece) == 1:
                await client.set(piece[0].name, piece[0].data, px=piece[0].life_ms)
            else:
                pipeline = client.pipeline(transaction=False)
                for packed in piece:
                    pipeline.set(packed.name, packed.data, px=packed.life_ms)
                await pipeline.execute()
            return len(piece)

        stored = int(await self._ask(store, piece) or 0)
        self.counts.stored += stored
        if stored and self.bounds.max_entries is not None:
            due = [self._names.note(packed.name, packed.ends_s) for packed in piece]
            if any(due):
                await self._ask(self._trim, piece)
        return stored

    async def _trim(self, client: Redis) -> None:
        """Keep the number of entries within its bound."""
        if self.bounds.max_entries is not None:
            trimmed = await self._names.tell(client, self._index, self._clock(), self.bounds.max_entries)
            self.counts.trimmed += trimmed

    async def _ask(self, command: Callable[[Redis], Awaitable[Any]], needed: object) -> Any:
        """The command's answer, or None when there is nothing to ask or nobody answers."""
        client = self._client
        if client is None or not needed:
            return None
        if self._clock() < self._paused_until_s:
            self.counts.skipped += 1
            return None
        try:
            with span("sentinel.cache"):
                return await command(client)
        except (RedisError, OSError) as error:
            self.counts.failed += 1
            if self._clock() >= self._paused_until_s:
                _log.warning("Redis does not answer, the cache is left out for a while: %s", error)
            self._paused_until_s = self._clock() + self._pause_s
            return None
        except (ValueError, TypeError) as error:
            self.counts.failed += 1
            _log.warning("Redis said what no Redis says, it is taken for nothing: %s", type(error).__name__)
            return None

    def _unpack(self, packed: bytes | None) -> Entry | None:
        if packed is None:
            return None
        try:
            return Entry.unpack(packed)
        except ValueError:
            self.counts.corrupt += 1
            return None

    @property
    def _index(self) -> str:
        return f"{self._namespace}:index"

    def _name(self, key: str) -> str:
        name = f"{self._namespace}:entry:{key}"
        if len(name.encode(errors="replace")) <= MAX_KEY_BYTES:
            return name
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
        return f"{self._namespace}:digest:{digest}"


dynamic_redis_cache = DynamicRedisCache()
