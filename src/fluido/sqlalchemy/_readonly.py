"""Failover to a writable server: leaves one that answers and became read-only (SQLSTATE 25006)."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Engine

from fluido.sqlalchemy._errors import sqlstate_of

READ_ONLY = "25006"
WRITABLE = ("read-write", "primary")
# What a server reports of itself since PostgreSQL 14. Older ones say nothing: the error is believed.
REPORTED = ("in_hot_standby", "default_transaction_read_only")


def asks_for_writable(url: URL, connect_args: Mapping[str, Any]) -> bool:
    """Whether the URL or the driver's own arguments want a server that takes writes."""
    wanted = connect_args.get("target_session_attrs", url.query.get("target_session_attrs"))
    return str(getattr(wanted, "value", wanted)).replace("_", "-") in WRITABLE


class LeavesReadOnly:
    """Makes "cannot execute ... in a read-only transaction" a lost connection, where the server is to blame.

    SQLAlchemy then replaces every connection opened before, once; the call that met it raises, and the next
    one connects anew. A transaction that its caller made read-only loses nothing.
    """

    def __init__(self, engine: Engine) -> None:
        dialect: Any = engine.dialect
        self._is_disconnect = dialect.is_disconnect
        # A method of this one dialect object, which belongs to this one engine.
        dialect.is_disconnect = self._is_lost

    def _is_lost(self, error: Any, connection: Any, cursor: Any) -> bool:
        if sqlstate_of(error) == READ_ONLY and _server_is_read_only(connection):
            return True
        return bool(self._is_disconnect(error, connection, cursor))


def _server_is_read_only(connection: Any) -> bool:
    driver = getattr(connection, "driver_connection", None)
    if driver is None:
        return False
    if hasattr(driver, "get_settings"):  # asyncpg
        settings = driver.get_settings()
        reported = [getattr(settings, name, None) for name in REPORTED]
    elif hasattr(driver, "info"):  # psycopg
        reported = [driver.info.parameter_status(name) for name in REPORTED]
    else:
        return False
    if all(value is None for value in reported):
        return not (getattr(connection, "readonly", False) or getattr(connection, "read_only", False))
    return "on" in reported
