"""A pytest plugin for SQLAlchemy's own test_pool.py: AdaptivePool in the place of its queue pool.

Usage, in an unpacked source archive of SQLAlchemy, with this folder and `src` on PYTHONPATH: `pytest -p
sqlalchemy_plugin test/engine/test_pool.py --db sqlite`. `EXCEPTIONS` says which tests do not apply, and
why.
"""

from typing import Any

import pytest
from sqlalchemy import pool
from sqlalchemy.pool.base import _ConnDialect

from fluido.sqlalchemy import AdaptivePool, Limits

THREADS = "waits in a thread; an async pool suspends a task, which tests/sqlalchemy/test_pool.py does"
OVERFLOW = "counts connections closed when they come back; ours stay until nobody needed them for a minute"
INSIDE = "replaces or compares the private parts of QueuePool"
OURS = "record_info is not empty: it carries the checkout, under the key fluido.hold"

EXCEPTIONS = {
    "test_rec_info": OURS,
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


pool.QueuePool = Adaptive  # type: ignore[misc,assignment]  # the replacement is the point


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with its reason, what does not apply."""
    for item in items:
        name = item.name.split("[")[0]
        for excepted, reason in EXCEPTIONS.items():
            if name == excepted:
                item.add_marker(pytest.mark.skip(reason=reason))
