"""The one place that tells what kind of trouble PostgreSQL has, and a wrong statement from both."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import exc

from app.core.failures import StorageUnavailable
from app.core.incidents import Incident, incidents
from fluido.sqlalchemy import OutcomeUnknown


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a SQLSTATE (or the class it begins with) means to a client, to readiness and to whoever waits."""

    state: str
    code: str
    sentence: str
    passes: bool = True
    is_ready: bool = False


_AWAY = Trouble("", "storage_unavailable", "PostgreSQL does not answer.")
_DISK = "storage_full"
_SETUP = "storage_misconfigured"
# The first that fits wins: a state stands before its class. `passes`: worth waiting for within a deadline.
TROUBLES = (
    Trouble("53100", _DISK, "PostgreSQL has no room left on its disk: nothing is stored.", passes=False),
    Trouble("53200", "storage_busy", "PostgreSQL is out of memory.", is_ready=True),
    Trouble("53300", "storage_busy", "All of PostgreSQL's connections are taken.", is_ready=True),
    Trouble("53", "storage_busy", "PostgreSQL is out of a resource."),
    Trouble("28", _SETUP, "PostgreSQL refuses Sentinel's user or password.", passes=False),
    Trouble("3D000", _SETUP, "The database that DATABASE_URL names does not exist.", passes=False),
    Trouble("42501", _SETUP, "Sentinel's user has no right to its tables in PostgreSQL.", passes=False),
    Trouble(
        "42P01", "storage_schema", "A table is missing in PostgreSQL: `python -m app migrate`.", passes=False
    ),
    Trouble(
        "42703", "storage_schema", "A column is missing in PostgreSQL: `python -m app migrate`.", passes=False
    ),
    Trouble("57014", "storage_slow", "PostgreSQL broke a statement off that took too long.", is_ready=True),
    Trouble("55P03", "storage_slow", "PostgreSQL did not get a lock in time.", is_ready=True),
    Trouble("40", "storage_slow", "PostgreSQL undid a statement that met another one.", is_ready=True),
    Trouble("58", "storage_broken", "PostgreSQL cannot read or write its disk.", passes=False),
    Trouble("XX", "storage_broken", "PostgreSQL reports damage of its data.", passes=False),
    Trouble("25006", "storage_read_only", "PostgreSQL takes no writes here: it is a standby, or read-only."),
    Trouble("08", _AWAY.code, _AWAY.sentence),
    Trouble("57P", _AWAY.code, _AWAY.sentence),
)
# A refusal that statements that only read would not meet is remembered, until a write goes through.
REMEMBERED_S = 60.0
_SAID_CHARS = 200


class _Memory:
    """The last trouble that a look which only reads does not find."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[float, Trouble] | None = None

    def note(self, trouble: Trouble) -> None:
        if not trouble.is_ready:
            self._last = (self._clock(), trouble)

    def recall(self) -> Trouble | None:
        if self._last is None or self._clock() - self._last[0] > REMEMBERED_S:
            return None
        return self._last[1]

    def clear(self) -> None:
        self._last = None


memory = _Memory()


@contextmanager
def storage() -> Iterator[None]:
    """Turn every sign of a server in trouble into `StorageUnavailable`; let a wrong statement pass."""
    try:
        yield
    except OutcomeUnknown as error:
        raise _told(
            _AWAY, error, "PostgreSQL was lost before it said whether the message was stored."
        ) from error
    except exc.TimeoutError as error:
        busy = Trouble("", "storage_busy", "No database connection became free in time.", is_ready=True)
        raise _told(busy, error) from error
    except (OSError, TimeoutError) as error:
        raise _told(_AWAY, error, "PostgreSQL cannot be reached.") from error
    except Exception as error:
        trouble = trouble_of(error)
        if trouble is None:
            raise
        raise _told(trouble, error) from error


def trouble_of(error: BaseException) -> Trouble | None:
    """Return what an error says of the server; None when it is the statement's own."""
    for each in _causes(error):
        state = getattr(each, "sqlstate", None) or ""
        if state:
            found = next((trouble for trouble in TROUBLES if state.startswith(trouble.state)), None)
            if found is not None:
                return found
        if isinstance(each, OSError | exc.InterfaceError) or getattr(each, "connection_invalidated", False):
            return _AWAY
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The driver's own error first: a wrapper only knows that the connection is gone."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        if isinstance(error, exc.DBAPIError) and error.orig is not None:
            error = error.orig
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            break
    yield from reversed(found)


def _told(trouble: Trouble, error: BaseException, sentence: str = "") -> StorageUnavailable:
    memory.note(trouble)
    said = _first_line(error)
    incidents.note(Incident.STORAGE_TROUBLE, code=trouble.code, state=trouble.state, said=said)
    return StorageUnavailable(
        sentence or trouble.sentence, code=trouble.code, passes=trouble.passes, said=said
    )


def _first_line(error: BaseException) -> str:
    """The server's words without the statement, its parameters and the row that it may quote."""
    innermost = next(_causes(error))
    lines = str(innermost).splitlines() or [type(innermost).__name__]
    return lines[0][:_SAID_CHARS]
