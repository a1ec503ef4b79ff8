"""How many connections the server grants, asked once over the first connection."""

import logging
from typing import Any

from sqlalchemy import Engine, event

from fluido.sqlalchemy.pool import AdaptivePool

SHARE = 0.9  # of what the server grants: migrations, psql and the next release want some as well

# A view, and not current_setting(): a server that lacks one of them answers with a row less, not an error.
_QUERY = (
    "SELECT name, setting FROM pg_settings"
    " WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')"
)
_logger = logging.getLogger("fluido.sqlalchemy")


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
