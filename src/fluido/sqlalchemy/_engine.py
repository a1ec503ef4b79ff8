"""`create_async_engine` with a pool that is fair and finds its own size."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Engine, event, exc, make_url
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine as create_stock_engine
from sqlalchemy.util import asbool, greenlet_spawn

from fluido.flow._memory import Kept
from fluido.laws._base import Law
from fluido.sqlalchemy._limits import Limits, default_law
from fluido.sqlalchemy._pool import AdaptivePool
from fluido.sqlalchemy._readonly import LeavesReadOnly, asks_for_writable
from fluido.sqlalchemy._statements import Statements

SHARE = 0.9  # of what the server grants: migrations, psql and the next release want some as well

# A view, and not current_setting(): a server that lacks one of them answers with a row less, not an error.
_QUERY = (
    "SELECT name, setting FROM pg_settings"
    " WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')"
)
_logger = logging.getLogger("fluido.sqlalchemy")


def create_async_engine(
    url: str | URL,
    *,
    limit: Limits | None = None,
    law: Law | None = None,
    writable: bool | None = None,
    **stock: Any,
) -> AsyncEngine:
    """Return a stock AsyncEngine with an AdaptivePool; takes every argument of SQLAlchemy's own.

    With `limit` the number of callers at work moves between its bounds as `law` decides (default: as far as
    `max`). Without, it is a fair pool of the stock size. Another database than PostgreSQL, another
    `poolclass` and a `pool` get what SQLAlchemy gives them. With `writable` a server that became read-only
    (SQLSTATE 25006) is left like a lost connection; by default where `target_session_attrs` asks for one
    that takes writes.

    Raises TypeError for a `limit` that is no Limits, ValueError when it comes with pool_size, max_overflow
    or a pool that is not fluido's.
    """
    _check_type(limit)
    parsed = make_url(url)
    dialect = parsed.get_dialect(_is_async=True)
    if not dialect.is_async:
        raise exc.InvalidRequestError(
            f"The asyncio extension requires an async driver. {parsed.drivername!r} is not async: use "
            "postgresql+asyncpg:// or postgresql+psycopg://"
        )
    poolclass = stock.get("poolclass")
    if poolclass is None:  # as in SQLAlchemy: the default
        stock.pop("poolclass", None)
        poolclass = AdaptivePool if dialect.name == "postgresql" else None
    if "pool" in stock or not (isinstance(poolclass, type) and issubclass(poolclass, AdaptivePool)):
        _refuse(limit, law, poolclass, parsed)
        return create_stock_engine(url, **stock)
    sizes = sorted({"pool_size", "max_overflow"} & stock.keys())
    if limit is not None and sizes:
        raise ValueError(
            f"limit=Limits(min=, max=) already says what {' and '.join(sizes)} would: give only one"
        )
    name = str(stock.get("pool_logging_name") or "")
    if limit is not None:
        stock["limit"] = limit
        server = f"{parsed.host}:{parsed.port}/{parsed.database}"
        if law is None:
            law = default_law(limit, server=server, name=name, clock=time.perf_counter)
    if law is not None:
        stock["law"] = law
    engine = create_stock_engine(parsed, **stock | {"poolclass": poolclass})
    pool = pool_of(engine)
    pool.observed = True
    if limit is not None and limit.memory is not None:
        pool.limiter.kept = Kept(limit.memory, name or server, pool.law)
    where = URL.create(parsed.drivername, host=parsed.host, port=parsed.port, database=parsed.database)
    pool.address = where.render_as_string()
    Statements(engine.sync_engine)
    if engine.dialect.name == "postgresql":
        Capacity(engine.sync_engine)
        if asks_for_writable(parsed, stock.get("connect_args") or {}) if writable is None else writable:
            LeavesReadOnly(engine.sync_engine)
    return engine


def async_engine_from_config(
    configuration: Mapping[str, Any], prefix: str = "sqlalchemy.", **kwargs: Any
) -> AsyncEngine:
    """As SQLAlchemy's: an engine from the entries that begin with `prefix`; `limit=` goes beside them."""
    options = {key[len(prefix) :]: configuration[key] for key in configuration if key.startswith(prefix)}
    options["_coerce_config"] = True
    options |= kwargs
    if isinstance(options.get("writable"), str):
        options["writable"] = asbool(options["writable"])
    return create_async_engine(options.pop("url"), **options)


def pool_of(engine: AsyncEngine) -> AdaptivePool:
    """The pool of an engine that `create_async_engine` returned: `pool_of(engine).stats()`, `.pin(8)`.

    Raises TypeError for an engine with another pool.
    """
    pool = engine.pool
    if not isinstance(pool, AdaptivePool):
        raise TypeError(f"the pool of this engine is a {type(pool).__name__}, not fluido's AdaptivePool")
    return pool


async def close_engine(engine: AsyncEngine, *, drain_s: float = 5.0) -> bool:
    """Close an engine for good; `dispose()` lets it open connections again.

    Newcomers and waiters get Closed, holders have `drain_s` seconds to give back. Returns whether all did;
    the connections of the others are closed when they come back. An engine with a pool of SQLAlchemy's own
    is disposed of. Idempotent.
    """
    pool = engine.pool
    if not isinstance(pool, AdaptivePool):
        await engine.dispose()
        return True
    drained = await pool.drain(drain_s)
    await greenlet_spawn(pool.dispose)
    return drained


def _check_type(limit: object) -> None:
    if limit is None or isinstance(limit, Limits):
        return
    if isinstance(limit, Mapping):
        wanted = f"Limits({', '.join(f'{name}={value!r}' for name, value in limit.items())})"
    elif isinstance(limit, int):
        wanted = f"Limits(max={limit})"
    else:
        wanted = "Limits(min=2, max=50)"
    raise TypeError(f"limit takes a Limits, not {type(limit).__name__}: write limit={wanted}")


def _refuse(limit: Limits | None, law: Law | None, poolclass: Any, url: URL) -> None:
    given = "limit" if limit is not None else "law"
    if limit is None and law is None:
        return
    if poolclass is None:
        raise ValueError(
            f"{url.drivername} gets the pool that SQLAlchemy chooses for it, which takes no {given}=: leave "
            "it out, or give poolclass=AdaptivePool as well"
        )
    name = getattr(poolclass, "__name__", repr(poolclass))
    raise ValueError(f"{given}= belongs to fluido's pool, and {name} was asked for: give only one of them")


class Capacity:
    """Caps the pool of one engine: `max` callers at work would be refused by the server with 53300."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        event.listen(engine, "connect", self._ask, once=True)

    def _ask(self, connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(_QUERY)
            settings = {name: int(setting) for name, setting in cursor.fetchall()}
        finally:
            cursor.close()
            connection.rollback()
        pool = self._engine.pool
        if isinstance(pool, AdaptivePool) and "max_connections" in settings:
            granted = 2 * settings["max_connections"] - sum(settings.values())
            replicas = pool.limits.replicas
            cap = max(1, int(SHARE * granted / replicas))
            if cap < pool.limits.max:
                _logger.warning(
                    "%s: max=%d is more than the server has for this process: it grants %d connections to "
                    "%d replica(s), of which fluido takes at most %d here",
                    pool.limiter.name,
                    pool.limits.max,
                    granted,
                    replicas,
                    cap,
                )
            pool.cap(cap)
