"""Brings the schema to the newest migration, once, under an advisory lock."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine

# Any constant will do, as long as every replica takes the same one.
_LOCK_KEY = 0x5E_4711


async def migrate(engine: AsyncEngine) -> None:
    """Apply what is missing. Replicas that start together wait for each other.

    Raises what the driver raises when the server is not there: the caller decides when to try again.
    """
    async with engine.connect() as connection:
        await connection.execute(sa.select(sa.func.pg_advisory_lock(_LOCK_KEY)))
        await connection.commit()
        try:
            await connection.run_sync(_upgrade)
            await connection.commit()
        finally:
            await connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK_KEY)))
            await connection.commit()


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
