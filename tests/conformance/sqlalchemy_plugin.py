"""A pytest plugin for SQLAlchemy's own suite: `FLUIDO_POOL=ours` puts AdaptivePool in its queue pools' place.

Engines for an async driver then also measure their statements as fluido's own do. `EXCEPTIONS` says which
tests do not apply, and why; `sqlalchemy_suite.py` beside this file runs it. `FLUIDO_COUNTS` names a file that
gets the number of checkouts and statements that went through fluido.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, pool
from sqlalchemy.pool.base import _AsyncConnDialect, _ConnDialect

from fluido.sqlalchemy import AdaptivePool, Limits
from fluido.sqlalchemy._statements import Statements

THREADS = "waits in a thread; an async pool suspends a task, which tests/sqlalchemy/test_pool.py does"
OVERFLOW = "counts connections closed when they come back; ours stay until nobody needed them for a minute"
INSIDE = "replaces or compares the private parts of QueuePool"

EXCEPTIONS = {
    "test_recreate": INSIDE,
    "test_recreate_state": INSIDE,
    "test_connect_checkout_handler_always_gets_info": INSIDE,
    "test_connect_handler_not_called_for_recycled": INSIDE,
    "test_overflow_no_gc": OVERFLOW,
    "test_queuepool_close": OVERFLOW,
    "test_queuepool_del": OVERFLOW,
    "test_notify_waiters": THREADS,
    "test_timeout": THREADS,
    "test_timeout_race": THREADS,
    "test_timeout_subsecond_precision": THREADS,
    "test_waiters_handled": THREADS,
}
POOLS: list[AdaptivePool] = []


class Adaptive(AdaptivePool):
    """The stock arguments, connections without a pause between them, and a driver that is not async."""

    _is_asyncio = False
    _dialect = _ConnDialect()

    def __init__(  # noqa: PLR0917  (SQLAlchemy finds them by position)
        self,
        creator: Any,
        pool_size: int = 5,
        max_overflow: int = 10,
        timeout: float | None = 30.0,
        use_lifo: bool = False,
        limit: Limits | None = None,
        **stock: Any,
    ) -> None:
        if limit is None:
            unbounded = pool_size == 0 or max_overflow == -1
            most = 10_000 if unbounded else max(1, pool_size + max_overflow)
            limit = Limits(min=pool_size, max=most, open_every_s=0.0)
        super().__init__(creator, timeout=timeout, use_lifo=use_lifo, limit=limit, **stock)
        self.observed = self._is_asyncio
        POOLS.append(self)

    @property
    def _overflow(self) -> int:
        return self._opened - self.limits.min

    @property
    def _pool(self) -> "Adaptive":
        return self

    def qsize(self) -> int:
        """QueuePool's queue of idle connections, as the tests look at it."""
        return self.checkedin()

    def empty(self) -> bool:
        """The same."""
        return not self.checkedin()


class AsyncAdaptive(Adaptive):
    """The same for an async driver."""

    _is_asyncio = True
    _dialect = _AsyncConnDialect()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """The embedded PostgreSQL has no citext and no hstore, which the suite installs and nothing here uses."""
    importlib.import_module("sqlalchemy.dialects.postgresql.provision")
    # Imported this late, because pytest rewrites the assertions of the suite's own modules first.
    testing = importlib.import_module("sqlalchemy.testing.provision")
    testing.post_configure_engine.fns["postgresql"] = lambda *_: None


if os.environ.get("FLUIDO_POOL") == "ours":
    # Messages name the class.
    Adaptive.__name__, AsyncAdaptive.__name__ = "QueuePool", "AsyncAdaptedQueuePool"
    pool.QueuePool = Adaptive  # type: ignore[misc,assignment]  # the replacement is the point
    pool.AsyncAdaptedQueuePool = AsyncAdaptive  # type: ignore[misc,assignment]
    plain = Engine.__init__

    def measured(  # noqa: PLR0917  (SQLAlchemy reads which arguments it may pass)
        self: Engine,
        pool: Any,
        dialect: Any,
        url: Any,
        logging_name: Any = None,
        echo: Any = None,
        query_cache_size: int = 500,
        execution_options: Any = None,
        hide_parameters: bool = False,
    ) -> None:
        """Every engine of an async driver is timed."""
        plain(
            self,
            pool,
            dialect,
            url,
            logging_name,
            echo,
            query_cache_size,
            execution_options,
            hide_parameters,
        )
        if dialect.is_async and type(self) is Engine:
            Statements(self)

    Engine.__init__ = measured  # type: ignore[method-assign]

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        """Skip, with its reason, what does not apply."""
        for item in items:
            name = item.name.split("[")[0]
            for excepted, reason in EXCEPTIONS.items():
                if name == excepted:
                    item.add_marker(pytest.mark.skip(reason=f"fluido: {reason}"))

    def pytest_sessionfinish(session: pytest.Session) -> None:
        """Tell how much of the suite went through fluido."""
        counts = {
            "checkouts": sum(found.gate.admitted for found in POOLS),
            "samples": sum(found.stats().completed for found in POOLS),
        }
        if target := os.environ.get("FLUIDO_COUNTS"):
            Path(target).write_text(json.dumps(counts))
