"""`fixed`: Sentinel with its limits nailed to constants, `bench.fixed:app` for an ASGI server.

What it gains over V1 is structure (shared connections, queues of ours, a stable prefix); what V2 gains over
it is adapting. The constants are V1's: 15 connections, and as many calls as the engine has slots.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.api import create_app
from app.core.ports import Assistant, DependencyHealth, System
from app.main import db, pace, sentinel, settings, system
from fluido.sqlalchemy import AdaptivePool

CONNECTIONS = 15
SLOTS = 4


class PinnedSystem:
    """Sentinel's system, whose laws are not listened to once it is open."""

    def __init__(self, inner: System) -> None:
        self._inner = inner

    @property
    def assistant(self) -> Assistant:
        return self._inner.assistant

    async def open(self) -> None:
        """Open it, then pin what its laws would move."""
        await self._inner.open()
        for station in sentinel.dispatcher.flows():
            facts = station.facts
            station.pin(float((facts.slots if facts else None) or SLOTS))
        pool = db.engine.pool
        assert isinstance(pool, AdaptivePool)  # noqa: S101 - Sentinel's own engine has no other
        pool.pin(CONNECTIONS)

    async def close(self) -> None:
        await self._inner.close()

    async def health(self) -> Sequence[DependencyHealth]:
        return await self._inner.health()

    def buffers(self) -> Mapping[str, object]:
        return self._inner.buffers()

    def flows(self) -> Iterable[Any]:
        return self._inner.flows()


app = create_app(PinnedSystem(system), settings, pace)
