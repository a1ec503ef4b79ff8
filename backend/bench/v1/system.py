"""V1 as one thing that the HTTP layer can open, close and ask (the port `System`)."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.core.failures import EngineFailed, StorageUnavailable
from app.core.ports import DependencyHealth

from .assistant import StaticAssistant
from .cache import StaticCache
from .engine import Dialect, StaticEngine
from .prompt import FRAGMENTS
from .storage import StaticStore
from .tuning import Tuning

HEALTH_TIMEOUT_S = 1.0
DEFAULTS = Tuning()


class StaticSystem:
    """Joins V1's parts. Every size in it is a constant, so its buffers are the same at any time."""

    def __init__(
        self,
        *,
        database_url: str,
        redis_url: str,
        engine_url: str,
        dialect: Dialect,
        model: str,
        deadline_s: float = 60.0,
        tuning: Tuning = DEFAULTS,
        engine: StaticEngine | None = None,
        prefix: str = "v1",
    ) -> None:
        """`engine` instead of the one of `engine_url`; `prefix` of every Redis key."""
        self._tuning = tuning
        self._store = StaticStore(database_url, pool_size=tuning.pool_size)
        self._cache = StaticCache(redis_url, pipeline=tuning.pipeline, prefix=prefix)
        self._engine = engine or StaticEngine(engine_url, dialect, model, in_flight=tuning.in_flight)
        self.assistant = StaticAssistant(
            self._store,
            self._cache,
            self._engine,
            deadline_s=deadline_s,
            exchanges=tuning.exchanges or FRAGMENTS,
        )

    async def open(self) -> None:
        """Make the tables and the sessions."""
        await self._store.open()
        await self._engine.open()

    async def close(self) -> None:
        """Close every part."""
        await self._engine.close()
        await self._cache.close()
        await self._store.close()

    async def health(self) -> Sequence[DependencyHealth]:
        """Ask every dependency at once."""
        return await asyncio.gather(self._postgres(), self._redis(), self._llm())

    def buffers(self) -> Mapping[str, object]:
        """The constants."""
        size = self._tuning.pool_size
        pool = {"pool_size": size, "max_overflow": 0} if size else {"pool_size": 5, "max_overflow": 10}
        return {
            "database_query": pool,
            "cache_operation": {"max_connections": 100, "pipeline": self._tuning.pipeline or 1},
            "llm_inference": {
                "in_flight": self._tuning.in_flight or None,
                "exchanges": self._tuning.exchanges or FRAGMENTS,
            },
        }

    def flows(self) -> Iterable[Any]:
        """None: nothing in V1 measures or adapts."""
        return ()

    async def _postgres(self) -> DependencyHealth:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                await self._store.check()
        except (StorageUnavailable, TimeoutError) as error:
            return DependencyHealth("postgresql", False, True, str(error) or "no answer in time")
        return DependencyHealth("postgresql", True, True, "answers")

    async def _redis(self) -> DependencyHealth:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                is_ready = await self._cache.check()
        except TimeoutError:
            is_ready = False
        return DependencyHealth("redis", is_ready, False, "answers" if is_ready else "no answer")

    async def _llm(self) -> DependencyHealth:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                detail = await self._engine.check()
        except (EngineFailed, TimeoutError) as error:
            return DependencyHealth("engine", False, True, str(error) or "no answer in time")
        return DependencyHealth("engine", True, True, detail)
