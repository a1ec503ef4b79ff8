"""Sentinel as one thing that can be opened, closed and asked how it is (the port `System`)."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Protocol

import structlog

from app.cache.dynamic_redis import DynamicRedisCache
from app.core.adaptive_buffers import AdaptiveBufferManager, DataFlowType, Flow
from app.core.failures import StorageUnavailable
from app.core.ports import DependencyHealth
from app.core.settings import Settings
from app.db.conversations import ConversationStore
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.db.failures import storage
from app.db.ledger import RequestLedger
from app.db.migrate import migrate
from app.db.retention import Retention
from app.db.telemetry import Telemetry
from app.db.upkeep import Upkeep

from .conversation import ConversationService
from .history import History
from .sentinel_fluido_v2 import SentinelFluidoV2
from .watch import Watch

log = structlog.get_logger(__name__)

HEALTH_TIMEOUT_S = 1.0
MIGRATE_AGAIN_S = 1.0


class Part(Protocol):
    """Something that is open while Sentinel is."""

    async def open(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """End. Idempotent."""


class SentinelSystem:
    """Joins the LLM service, the database and the cache. Inert until `open`.

    `beside` uses the service's engines too: it is opened after the service and closed before it.
    """

    def __init__(
        self,
        sentinel: SentinelFluidoV2,
        db: DynamicPostgreSQLSession,
        cache: DynamicRedisCache,
        buffers: AdaptiveBufferManager,
        *,
        redis_url: str | None,
        settings: Settings,
        beside: Part | None = None,
    ) -> None:
        self._redis_url = redis_url
        self._beside = beside
        should_migrate = settings.migrate
        self.sentinel = sentinel
        self.db = db
        self._cache = cache
        self._buffers = buffers
        self._should_migrate = should_migrate
        self._migrating: asyncio.Task[None] | None = None
        self._schema_fault: str | None = "the schema has not been looked at yet" if should_migrate else None
        self._store = ConversationStore(db.engine, buffers.policy(DataFlowType.DATABASE_QUERY))
        self._telemetry = Telemetry(db.engine, buffers.policy(DataFlowType.TELEMETRY))
        self._history = History(self._store, cache, policy=buffers.policy(DataFlowType.CACHE_OPERATION))
        self._ledger = RequestLedger(db.engine)
        self.assistant = ConversationService(
            sentinel,
            self._store,
            self._ledger,
            self._history,
            deadline_s=settings.deadline_s,
            telemetry=self._telemetry,
            max_answer_chars=settings.max_answer_chars,
            max_answer_s=settings.max_answer_s,
            storage_wait_s=settings.storage_wait_s,
        )
        self._retention = Retention(
            db.engine, requests_days=settings.keep_requests_days, timings_days=settings.keep_timings_days
        )
        self._upkeep = Upkeep(db.engine)
        self._watch = Watch(self._configured)
        tenants = set(settings.keys().values())
        self._heirless = len(tenants) > 1

    async def open(self) -> None:
        """Open every part. A dependency that is away now is waited for in the background."""
        await self._open_cache()
        self._buffers.attach(
            DataFlowType.DATABASE_QUERY,
            lambda: [self.db.pool.limiter, self._store.writer],
            lambda: self.db.live() | {"batch_size": round(self._store.writer.stats().value)},
        )
        self._buffers.attach(DataFlowType.TELEMETRY, lambda: [self._telemetry], self._telemetry.live)
        await self.sentinel.open()
        if self._beside is not None:
            await self._beside.open()
        if self._should_migrate and not await self._migrate():
            self._migrating = asyncio.create_task(self._migrate_until_done())
        self._retention.open()
        self._watch.open()
        if self._heirless and self._schema_fault is None:
            await self._tell_of_ownerless()

    async def close(self) -> None:
        """End what runs, store what was said, close every part."""
        async with AsyncExitStack() as parts:  # the last one first; one that fails keeps none of them open
            parts.push_async_callback(self.db.close)
            parts.push_async_callback(self._cache.close)
            parts.push_async_callback(self._history.close)
            parts.push_async_callback(self._telemetry.close)
            parts.push_async_callback(self._store.close)
            parts.push_async_callback(self._ledger.close)
            parts.push_async_callback(self.assistant.drain)
            parts.push_async_callback(self.sentinel.close)
            if self._beside is not None:
                parts.push_async_callback(self._beside.close)
            parts.push_async_callback(self._end_migrating)
            parts.push_async_callback(self._retention.close)
            parts.push_async_callback(self._watch.close)

    async def _end_migrating(self) -> None:
        if self._migrating is not None:
            self._migrating.cancel()
            with suppress(asyncio.CancelledError):
                await self._migrating

    async def health(self) -> Sequence[DependencyHealth]:
        """Ask every dependency at once; an answer later than a second counts as none."""
        return await asyncio.gather(self._postgres(), self._redis(), self._engine())

    async def _configured(self) -> Sequence[DependencyHealth]:
        """The parts that this Sentinel has: one without REDIS_URL has not lost it."""
        return [part for part in await self.health() if part.name != "redis" or self._redis_url]

    def buffers(self) -> Mapping[str, object]:
        """Return every flow with its live values."""
        return self._buffers.get_buffer_stats()

    def flows(self) -> Iterable[Flow]:
        """Return every live flow."""
        return (flow for kind in DataFlowType for flow in self._buffers.flows(kind))

    async def _open_cache(self) -> None:
        self._buffers.attach(
            DataFlowType.CACHE_OPERATION,
            lambda: [*([self._cache.client] if self._cache.client else []), *self._history.flows()],
            lambda: self._cache.live() | self._history.live(),
        )
        if self._redis_url is None:
            log.warning("no REDIS_URL: histories are kept in this process and read from PostgreSQL")
            return
        self._cache.obey(self._buffers.policy(DataFlowType.CACHE_OPERATION))
        await self._cache.open(self._redis_url)

    async def _migrate(self) -> bool:
        try:
            with storage():
                await migrate(self.db.engine)
        except StorageUnavailable as error:
            self._schema_fault = f"{error} The schema is applied as soon as it does."
            return False
        self._schema_fault = None
        return True

    async def _migrate_until_done(self) -> None:
        log.warning("PostgreSQL is away; Sentinel waits for it", reason=self._schema_fault)
        while True:
            await asyncio.sleep(MIGRATE_AGAIN_S)
            if await self._migrate():
                break
        log.info("PostgreSQL is back; the schema is current")

    async def _tell_of_ownerless(self) -> None:
        """Conversations from before there were several keys are seen by nobody until somebody owns them."""
        try:
            count = await self._upkeep.ownerless()
        except StorageUnavailable:
            return
        if count:
            log.warning(
                "conversations of no tenant: give them to one with `python -m app adopt NAME`", count=count
            )

    async def _postgres(self) -> DependencyHealth:
        fault = self._schema_fault
        if fault is None:
            try:
                async with asyncio.timeout(HEALTH_TIMEOUT_S):
                    with storage():
                        await self.db.check()
                        await self._upkeep.check()
            except (StorageUnavailable, TimeoutError) as error:
                fault = str(error) or f"no answer within {HEALTH_TIMEOUT_S:g} s"
        return DependencyHealth("postgresql", fault is None, True, fault or "answers")

    async def _redis(self) -> DependencyHealth:
        fault = None if self._redis_url else "REDIS_URL is not set"
        if self._cache.client is not None:
            try:
                async with asyncio.timeout(HEALTH_TIMEOUT_S):
                    await self._cache.client.ping()
            except Exception as error:  # noqa: BLE001 - whatever Redis does wrong is the answer here
                fault = str(error) or f"no answer within {HEALTH_TIMEOUT_S:g} s"
        detail = "answers" if fault is None else f"{fault}: histories are read from PostgreSQL"
        return DependencyHealth("redis", fault is None, False, detail)

    async def _engine(self) -> DependencyHealth:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                detail = await self.sentinel.check()
        except TimeoutError as error:
            detail = f"the engine did not answer within {HEALTH_TIMEOUT_S:g} s"
            return DependencyHealth("engine", False, True, str(error) or detail)
        except Exception as error:  # noqa: BLE001 - whatever the engine does wrong is the answer here
            return DependencyHealth("engine", False, True, str(error))
        refused = self.assistant.refusals.reason()
        return DependencyHealth("engine", refused is None, True, refused or detail)
