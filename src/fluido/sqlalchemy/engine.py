"""`create_async_engine` with a pool that is fair and finds its own size."""

import time
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine as create_stock_engine
from sqlalchemy.util import greenlet_spawn

from fluido.laws.base import Law
from fluido.sqlalchemy.capacity import Capacity
from fluido.sqlalchemy.law import default_law
from fluido.sqlalchemy.limits import Limits
from fluido.sqlalchemy.pool import AdaptivePool
from fluido.sqlalchemy.statements import Statements


def create_async_engine(
    url: str | URL, *, limit: Limits | None = None, law: Law | None = None, **stock: Any
) -> AsyncEngine:
    """Return a stock AsyncEngine with an AdaptivePool; takes every argument of SQLAlchemy's own.

    With `limit` the number of callers at work moves between its bounds as `law` decides (default: as far as
    `max`). Without, it is a fair pool of the stock size. Raises ValueError when `limit` comes with
    pool_size, max_overflow or another poolclass, or when the driver of `url` is not async.
    """
    poolclass = stock.pop("poolclass", AdaptivePool)
    if not issubclass(poolclass, AdaptivePool) or "pool" in stock:
        raise ValueError(
            "fluido brings its own pool: use sqlalchemy.ext.asyncio.create_async_engine for another one"
        )
    sizes = sorted({"pool_size", "max_overflow"} & stock.keys())
    if limit is not None and sizes:
        raise ValueError(
            f"limit=Limits(min=, max=) already says what {' and '.join(sizes)} would: give only one"
        )
    parsed = make_url(url)
    if not parsed.get_dialect(_is_async=True).is_async:
        raise ValueError(
            f"{parsed.drivername} is not an async driver: use postgresql+asyncpg:// or postgresql+psycopg://"
        )
    if limit is not None:
        stock["limit"] = limit
    if law is None and limit is not None:
        server = f"{parsed.host}:{parsed.port}/{parsed.database}"
        law = default_law(limit, server=server, clock=time.perf_counter)
    if law is not None:
        stock["law"] = law
    engine = create_stock_engine(parsed, poolclass=poolclass, **stock)
    if isinstance(engine.pool, AdaptivePool):
        engine.pool.observed = True
        Statements(engine.sync_engine)
        if engine.dialect.name == "postgresql":
            Capacity(engine.sync_engine)
    return engine


async def close_engine(engine: AsyncEngine, *, drain_s: float = 5.0) -> bool:
    """Close an engine for good; `dispose()` lets it open connections again.

    Newcomers and waiters get Closed, holders have `drain_s` seconds to give back. Returns whether all did;
    the connections of the others are closed when they come back. Idempotent.
    """
    pool = engine.pool
    if not isinstance(pool, AdaptivePool):
        raise TypeError(
            f"the pool of this engine is a {type(pool).__name__}, not fluido's: use engine.dispose()"
        )
    drained = await pool.drain(drain_s)
    await greenlet_spawn(pool.dispose)
    return drained
