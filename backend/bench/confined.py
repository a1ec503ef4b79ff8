"""Arms that live in a schema and under a key prefix of their own, on servers that belong to somebody else.

A database URL with `?bench_schema=NAME` opens its connections inside that schema: every engine of this
process understands it once this package is imported.
"""

from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine

SCHEMA = "bench_schema"
PREFIX_VARIABLE = "V1_PREFIX"
"""The environment variable with the prefix of every Redis key; V1's own."""


def inside(url: str, schema: str) -> str:
    """The URL whose connections see only `schema`."""
    return sa.make_url(url).update_query_dict({SCHEMA: schema}).render_as_string(hide_password=False)


async def connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection to such a URL, or to one without a schema."""
    parsed = sa.make_url(url)
    schema = parsed.query.get(SCHEMA)
    plain = parsed.difference_update_query([SCHEMA]).set(drivername="postgresql")
    settings = {"search_path": str(schema)} if schema else {}
    return await asyncpg.connect(plain.render_as_string(hide_password=False), server_settings=settings)


@event.listens_for(Engine, "do_connect")
def _enter(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
    schema = parameters.pop(SCHEMA, None)
    if schema:
        settings = parameters.get("server_settings") or {}
        parameters["server_settings"] = {**settings, "search_path": schema}
