"""What all loops that use one pool have in common."""

import logging
import time
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import ConnectionPool

from fluido._metrics import FlowStats
from fluido.laws._fixed import Fixed
from fluido.redis._bulk import Bulk
from fluido.redis._counts import Tally
from fluido.redis._sharing import Sharing

_log = logging.getLogger("fluido.redis")


def name_of(pool: Any, sharing: Sharing) -> str:
    """Of this flow in metrics: as `Sharing` says, or as the server knows its connections."""
    return sharing.name or str(pool.connection_kwargs.get("client_name") or "") or "redis"


def stats_of(pool: Any, sharing: Sharing, tally: Tally, *, inflight: int = 0, waiting: int = 0) -> FlowStats:
    """The shared connections as a flow; nothing moves its window."""
    meter = tally.meter
    meter.name = name_of(pool, sharing)
    window = Fixed(sharing.window)
    return meter.stats(window, (), {}, value=window.value, inflight=inflight, waiting=waiting)


class PoolState:
    """A pool, how its links are made, what was learnt and counted. `fallback`: why nothing is shared."""

    def __init__(self, pool: ConnectionPool, clock: Callable[[], float] = time.perf_counter) -> None:
        self.pool = pool
        self.clock = clock
        self.sharing = Sharing()
        self.tally = Tally()
        self.bulk = Bulk()
        self.fallback: str | None = None
        self.several_loops = False  # ever
        self.loops_at_once = False  # then what is idle in the pool may belong to another loop

    @property
    def name(self) -> str:
        """Of this flow in metrics."""
        return name_of(self.pool, self.sharing)

    def give_up(self, reason: str) -> None:
        """The pool's connections cannot be shared: say so once."""
        if self.fallback is None:
            self.fallback = reason
            _log.warning("commands are not multiplexed: %s", reason)
