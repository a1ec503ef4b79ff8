"""fluido's errors, worded so that code written for SQLAlchemy's pool catches them too."""

import re

from sqlalchemy import exc

from fluido._sample import Outcome
from fluido.errors import Closed, FluidoError, LimitReached, WaitTimeout

# 08 connection lost or refused, 53 out of resources (53300 too many connections), 57P01-57P03 shutting down,
# crashed or starting. Deadlocks (40P01), lock and statement timeouts (55P03, 57014), serialization failures
# and constraints say nothing: they happen at any load, or are the caller's own doing.
OVERLOADED = ("08", "53", "57P01", "57P02", "57P03")

# Errors of a statement that no row is to blame for: the connection, resources, shutting down, a transaction
# undone, a server that takes no writes, or no such table or schema.
CONCERN_ALL = ("08", "53", "57P", "40", "25006", "42P01", "3F000")
# Of these, what may be otherwise the next time.
PASSING = ("08", "53", "57P", "40", "25006")
# Too large or too slow: 57014 cancelled by a timeout, 53200 out of memory, 54 a program limit.
_TOO_MUCH = ("57014", "53200", "54")
_ROWS_OWN = ("53200", "53400")  # out of memory, a configured limit: fewer rows may do
# The innermost line of an error's context, in any language, where a function raised it of its own accord.
_BY_RAISE = re.compile(r"[^\n]*PL/pgSQL[^\n]*\bRAISE(?:\n|\Z)")


class PoolTimeout(WaitTimeout, exc.TimeoutError):
    """No connection became free in time. Also a `sqlalchemy.exc.TimeoutError`, as the stock pool raises."""


class PoolQueueFull(LimitReached, exc.TimeoutError):
    """So many callers wait for a connection that one more is refused at once."""


class OutcomeUnknown(FluidoError):
    """The connection was lost while the rows were on their way: all are stored, or none. Look, then decide.

    A writer that was given an idempotency key finds out by itself and does not raise this before `retry_s`.
    """

    def __init__(self, message: str, *, rows: int) -> None:
        super().__init__(message)
        self.rows = rows


def sqlstate_of(error: BaseException | None) -> str:
    """The SQLSTATE of an error of asyncpg, psycopg or SQLAlchemy's wrappers, "" when it has none."""
    for _ in range(4):
        if error is None:
            break
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if isinstance(state, str):
            return state
        error = getattr(error, "orig", None) or error.__cause__
    return ""


def state_of_server(error: BaseException | None) -> str:
    """The same, but "" for a code that a function chose for its RAISE: it says nothing of the server."""
    return "" if _BY_RAISE.match(_context_of(error)) else sqlstate_of(error)


def outcome_of(error: BaseException) -> Outcome:
    """OVERLOAD when the server refused or lost us, else IGNORED."""
    state = state_of_server(error)
    if state:
        return Outcome.OVERLOAD if state.startswith(OVERLOADED) else Outcome.IGNORED
    if isinstance(error, TimeoutError):
        return Outcome.IGNORED
    return Outcome.OVERLOAD if isinstance(error, OSError) else Outcome.IGNORED


def outcome_of_connect(error: BaseException) -> Outcome:
    """As `outcome_of`; a connection attempt that timed out also means too much was asked."""
    if isinstance(error, TimeoutError):
        return Outcome.OVERLOAD
    return outcome_of(error)


def outcome_of_batch(error: BaseException) -> Outcome:
    """What a failed batch says about its size."""
    return Outcome.OVERLOAD if sqlstate_of(error).startswith(_TOO_MUCH) else Outcome.IGNORED


def concerns_all(error: BaseException) -> bool:
    """Whether a statement of many rows failed for a reason that is known to have nothing to do with a row.

    An allow-list: whatever is not on it is looked for in single rows.
    """
    if isinstance(error, OSError | FluidoError | exc.TimeoutError | TimeoutError):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    state = state_of_server(error)
    if state in {"42P01", "3F000"}:
        return not _context_of(error)  # inside of a trigger: then a single row may have brought it there
    return state.startswith(CONCERN_ALL) and state not in _ROWS_OWN


def is_passing(error: BaseException) -> bool:
    """Whether the same rows may be stored later: the server or the way to it was away, full or too slow."""
    if isinstance(error, Closed):
        return False
    if isinstance(error, OSError | FluidoError | exc.TimeoutError | TimeoutError):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    return state_of_server(error).startswith(PASSING)


def is_stale(error: BaseException) -> bool:
    """Whether a table was changed under a prepared statement: the same again is planned anew.

    By the server's own function: the code says only that something is not supported, the text may be in any
    language.
    """
    return _told(error, "server_source_function", "source_function") == "RevalidateCachedQuery"


def _context_of(error: BaseException | None) -> str:
    """Where in functions and triggers the server raised it, innermost first; "" where nowhere."""
    return _told(error, "context", "context")


def _told(error: BaseException | None, by_asyncpg: str, by_psycopg: str) -> str:
    orig = getattr(error, "orig", None) or error
    told = getattr(getattr(orig, "__cause__", None), by_asyncpg, None) or getattr(
        getattr(orig, "diag", None), by_psycopg, None
    )
    return told if isinstance(told, str) else ""
