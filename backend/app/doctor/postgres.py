"""Facts of a PostgreSQL, by three reading statements on one connection."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.core.adaptive_buffers import POLICY, DataFlowType
from app.db.dynamic_session import DynamicPostgreSQLSession

from .facts import ClockFacts, PostgresFacts

ALONE = replace(POLICY[DataFlowType.DATABASE_QUERY], pool_min_size=1, pool_max_size=1, connect_timeout_s=3.0)
SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE name IN ('server_version_num', 'max_connections', "
    "'superuser_reserved_connections', 'reserved_connections')"
)
NOW = (
    "SELECT extract(epoch FROM clock_timestamp())::float8, "
    "(SELECT count(*) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND usename <> current_user), "
    "(SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), to_regclass('messages') IS NOT NULL"
)
LIVE = "SELECT count(DISTINCT conversation_id) FROM messages WHERE created_at > now() - interval '5 minutes'"


async def read(url: str, clocks: list[ClockFacts]) -> PostgresFacts:
    """Raises what the driver raises when nobody answers or lets us in."""
    db = DynamicPostgreSQLSession(url, policy=ALONE, name="doctor")
    try:
        async with db.engine.connect() as connection:
            rows = (await connection.exec_driver_sql(SETTINGS)).all()
            settings = dict[str, int]((str(name), int(value)) for name, value in map(tuple, rows))
            began_s = time.time()
            row: Sequence[Any] = (await connection.exec_driver_sql(NOW)).one()
            now_s, others, role_limit, has_schema = row
            ended_s = time.time()
            live = (await connection.exec_driver_sql(LIVE)).scalar_one() if has_schema else None
    finally:
        await db.close(drain_s=1.0)
    half_s = (ended_s - began_s) / 2
    clocks.append(ClockFacts("PostgreSQL", now_s - began_s - half_s, half_s))
    return PostgresFacts(
        version=settings["server_version_num"],
        max_connections=settings["max_connections"],
        reserved=settings["superuser_reserved_connections"] + settings.get("reserved_connections", 0),
        others=others,
        role_limit=role_limit if role_limit >= 0 else None,
        live_conversations=live,
    )
