"""The one place that tells a lost PostgreSQL from a wrong statement."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from app.core.failures import StorageUnavailable
from fluido.sqlalchemy import OutcomeUnknown

# 08 connection, 53 out of resources, 57P01-57P03 shutting down or starting, 25006 a standby.
_STATES = ("08", "53", "57P", "25006")


@contextmanager
def storage() -> Iterator[None]:
    """Turn every sign of an unreachable server into `StorageUnavailable`; let the rest pass."""
    try:
        yield
    except OutcomeUnknown as error:
        raise StorageUnavailable(
            "PostgreSQL was lost before it said whether the message was stored."
        ) from error
    except exc.TimeoutError as error:
        raise StorageUnavailable("No database connection became free in time.") from error
    except (OSError, TimeoutError) as error:
        raise StorageUnavailable("PostgreSQL cannot be reached.") from error
    except Exception as error:
        if _is_outage(error):
            raise StorageUnavailable("PostgreSQL does not answer.") from error
        raise


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated or isinstance(error, exc.InterfaceError):
            return True
        return error.orig is not None and _is_outage(error.orig)
    state = getattr(error, "sqlstate", None) or ""
    return isinstance(error, OSError) or state.startswith(_STATES)
