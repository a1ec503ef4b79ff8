"""Pool exhaustion explained: who holds the connections, and what to change."""

import math
from collections import defaultdict
from pathlib import Path

from fluido.errors import Closed, FluidoError, LimitReached, WaitTimeout
from fluido.sqlalchemy._errors import PoolQueueFull, PoolTimeout
from fluido.sqlalchemy._hold import Hold, HoldingPool

NAMED = 3  # so many labels are told
# Where nobody looks for a mistake of one's own.
LIBRARIES = ("/site-packages/", "/asyncio/", f"{Path(__file__).parents[1]}/")


def explained(pool: HoldingPool, error: WaitTimeout | LimitReached | Closed) -> FluidoError:
    """The gate's error as the pool's: which pool, which labels hold permits since when, what to raise."""
    name = f"pool {pool.gate.name}{f' ({pool.address})' if pool.address else ''}"
    if isinstance(error, Closed):
        return Closed(f"The engine of {name} was closed by close_engine(): make another one")
    why = f"{_holders(pool)}{_remedy(pool)} ({pool.status()})"
    if isinstance(error, WaitTimeout):
        waited = f"{name} gave no connection in {error.waited_s:.3f} s (pool_timeout)"
        return PoolTimeout(f"{waited}. {why}", waited_s=error.waited_s)
    most = pool.limits.max_waiting
    full = f"{error.waiting} callers wait already (Limits.max_waiting is {most})"
    return PoolQueueFull(
        f"{name}: {full if error.waiting >= most else error}. {why}",
        waiting=error.waiting,
        predicted_wait_s=error.predicted_wait_s,
        retry_after_s=error.retry_after_s,
    )


def _holders(pool: HoldingPool) -> str:
    now_s = pool.limiter.clock()
    by_label: defaultdict[str, list[Hold]] = defaultdict(list)
    for hold in pool.holds.values():
        by_label[hold.label].append(hold)
    if not by_label:
        return "Nobody holds one. "
    most = sorted(by_label.items(), key=lambda each: -len(each[1]))
    told = [
        f"{repr(label) if label else 'no label'} {len(holds)} "
        f"(longest {now_s - min(hold.taken_s for hold in holds):.1f} s)"
        for label, holds in most[:NAMED]
    ]
    rest = sum(len(holds) for _, holds in most[NAMED:])
    if rest:
        told.append(f"others {rest}")
    oldest = min(pool.holds.values(), key=lambda hold: hold.taken_s)
    places = oldest.places()
    own = [
        place for place in places if place.startswith("/") and not any(part in place for part in LIBRARIES)
    ]
    place = f"; the longest is at {own[-1]}" if own else ""
    return f"Held by {', '.join(told)}{place}. "


def _remedy(pool: HoldingPool) -> str:
    gate, limits = pool.gate, pool.limits
    if gate.cap < limits.max and gate.limit >= math.floor(gate.cap):
        return f"The server grants {gate.cap:g} connections: raise its max_connections"
    if pool.limiter.pinned is not None and pool.limiter.pinned < limits.max:
        return f"The limit is pinned at {pool.limiter.pinned:g}: pin() it higher, or unpin()"
    if gate.limit < limits.max:
        return f"The law holds the limit at {gate.limit:g} of {limits.max} (stats().decisions says why)"
    if pool.is_fixed:
        return "Shorten what holds them, or raise pool_size or max_overflow, or give limit=Limits(...)"
    return f"Shorten what holds them, or raise Limits(max={limits.max})"
