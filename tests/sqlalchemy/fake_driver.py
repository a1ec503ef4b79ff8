"""A DB-API of behaviour, without a server: connections that open, close, fail and count."""

import asyncio
from typing import Any

from sqlalchemy.util import await_only

from fluido.sqlalchemy import AdaptivePool, Limits


class FakeConnection:
    """One connection; remembers what was done to it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False
        self.rollbacks = 0

    def rollback(self) -> None:
        """Count."""
        self.rollbacks += 1

    def close(self) -> None:
        """Be closed."""
        self.closed = True


class FakeDriver:
    """Opens FakeConnections; `opening` holds each open until it is set, `broken` makes it fail."""

    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []
        self.opening: asyncio.Event | None = None
        self.broken: Exception | None = None

    def __call__(self) -> FakeConnection:
        """Open one connection."""
        if self.opening is not None:
            await_only(self.opening.wait())
        if self.broken is not None:
            raise self.broken
        self.connections.append(FakeConnection(len(self.connections)))
        return self.connections[-1]

    def pool(self, *, min: int = 0, max: int = 2, **options: Any) -> AdaptivePool:  # noqa: A002  (Limits' own words)
        """A pool on this driver that opens connections without pause."""
        limits = {
            name: options.pop(name)
            for name in ("max_waiting", "lifetime_s", "idle_s", "start", "memory")
            if name in options
        }
        return AdaptivePool(self, limit=Limits(min=min, max=max, open_every_s=0.0, **limits), **options)

    @property
    def open_connections(self) -> int:
        """How many are open now."""
        return sum(not connection.closed for connection in self.connections)
