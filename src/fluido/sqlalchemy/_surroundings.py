"""Which rows may share a statement, and in which context variables it runs, when hooks read them."""

import contextvars
import logging
import uuid
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import types
from sqlalchemy.event import registry
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido.sqlalchemy._insert import Row

Context = contextvars.Context
Partition = Callable[[Row], Hashable]
log = logging.getLogger("fluido.sqlalchemy")

# The events between a checkout and its return in which a hook can say what is stored, or under whose name.
_POOL_EVENTS = ("checkout",)
_ENGINE_EVENTS = (
    "engine_connect",
    "set_connection_execution_options",
    "begin",
    "before_execute",
    "before_cursor_execute",
    "after_cursor_execute",
    "after_execute",
    "commit",
)
_DIALECT_EVENTS = ("do_execute", "do_executemany", "do_execute_no_params", "do_setinputsizes")

# Who measures does not change what is stored: its hooks and its values must not keep rows apart.
_TRACERS = ("opentelemetry", "sentry_sdk", "ddtrace", "fluido", "elasticapm", "newrelic", "logfire")
_WRAPPERS = ("sqlalchemy.engine.events", "sqlalchemy.util", "sqlalchemy.event", "functools")
_OWN = ("sqlalchemy.engine.default",)
# Compared by value; of anything else only the very same object is the same.
_PLAIN = (str, int, float, bool, bytes, uuid.UUID, type(None))


class Surroundings:
    """The context of a writer, and what of a caller's belongs to his rows.

    Without hooks nothing can read a context variable while rows are stored: all rows go together, in the
    context of the writer's construction. With hooks, or types that bind values by the user's code, rows go
    together whose callers' variables are alike, or whose `partition` is; the statement then sees those
    variables. What tracers keep in theirs is left out.
    """

    def __init__(self, engine: AsyncEngine, table: sa.Table, partition: Partition | None = None) -> None:
        self._engine = engine
        self._table = table
        self._partition = partition
        self._base = contextvars.copy_context()
        self._typed = any(_is_users(column.type) for column in table.columns)
        self._listeners = -1
        self._hooked = False
        self._said = False

    @property
    def hooked(self) -> bool:
        """Whether somebody's code runs while a connection of this engine is used."""
        known = len(registry._key_to_collection)
        if known != self._listeners:
            self._listeners = known
            self._hooked = any(_is_hook(listener) for listener in self._heard())
        return self._hooked

    def of(self, row: Row) -> tuple[Hashable, Context | None]:
        """What must be equal for rows that go together, and the caller's context if it is needed."""
        if self._partition is not None:
            return self._partition(row), contextvars.copy_context()
        if not self._typed and not self.hooked:
            return None, None
        context = contextvars.copy_context()
        base = self._base
        differing = frozenset(
            (variable, type(value), value if isinstance(value, _PLAIN) else _Same(value))
            for variable, value in context.items()
            if not _is_tracers(variable, value) and base.get(variable, _Same) is not value
        )
        if differing and not self._said:
            self._said = True
            log.info(
                "rows for %s are kept apart by context variables (%s), which hooks or column types may read:"
                " give `partition` if fewer of them matter",
                self._table.name,
                ", ".join(sorted(variable.name for variable, *_ in differing)),
            )
        return differing or None, context

    def around(self, caller: Context | None) -> Context:
        """The context for one batch: the writer's own, with what belongs to this caller's rows."""
        context = self._base.copy()
        if caller is not None:
            for variable, value in caller.items():
                if not _is_tracers(variable, value):
                    context.run(variable.set, value)
        return context

    def _heard(self) -> Iterator[Any]:
        engine = self._engine.sync_engine
        for dispatch, events in (
            (engine.pool.dispatch, _POOL_EVENTS),
            (engine.dispatch, _ENGINE_EVENTS),
            (engine.dialect.dispatch, _DIALECT_EVENTS),
        ):
            for name in events:
                yield from getattr(dispatch, name, ())


class _Same:
    """Equal to nothing but another one around the same object, which it keeps alive."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _is_hook(listener: Any) -> bool:
    """Whether it is the user's code: not SQLAlchemy's own, and not a tracer's."""
    module = getattr(listener, "__module__", None) or type(listener).__module__
    if module.startswith(_WRAPPERS):
        inner = [getattr(listener, "__wrapped__", None), *_closure(listener)]
        called = [one for one in inner if callable(one) and not isinstance(one, type)]
        return not called or any(_is_hook(one) for one in called)
    return not module.startswith(_OWN) and module.partition(".")[0] not in _TRACERS


def _closure(listener: Any) -> Iterator[Any]:
    for cell in getattr(listener, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue


def _is_users(kind: types.TypeEngine[Any]) -> bool:
    """Whether a type binds its values by code that is not SQLAlchemy's."""
    if isinstance(kind, sa.ARRAY):
        return _is_users(kind.item_type)
    for owner in type(kind).__mro__:
        if (
            not owner.__module__.startswith("sqlalchemy.")
            and {"process_bind_param", "bind_processor"} & vars(owner).keys()
        ):
            return True
    return False


def _is_tracers(variable: contextvars.ContextVar[Any], value: object) -> bool:
    return variable.name == "fluido_label" or type(value).__module__.partition(".")[0] in _TRACERS
