"""The tables as an operator sees them: are they there, do they take rows, whose are they."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.failures import StorageUnavailable

from .failures import memory, storage
from .schema import conversations, requests

_MISSING = sa.text(
    """
    SELECT name FROM unnest(CAST('{conversations,messages,requests,timings}' AS text[])) AS name
    WHERE to_regclass(name) IS NULL
    """
)
# 128 KiB in a table of this session's own, gone with the statement's transaction.
_PROBE = sa.text(
    "CREATE TEMPORARY TABLE room_for_writes ON COMMIT DROP AS SELECT repeat(md5(i::text), 32) AS filling "
    "FROM generate_series(1, 128) AS i"
)


class Upkeep:
    """Looks at the tables on an engine, each time with a statement of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def check(self) -> None:
        """Return when the tables are there and take rows; raises `StorageUnavailable` when they do not.

        A disk without room refuses no look: where a write failed of late, blocks are asked for and let go.
        """
        trouble = memory.recall()
        with storage():
            async with self._engine.connect() as connection:
                missing = (await connection.execute(_MISSING)).scalars().all()
                if trouble is not None:
                    await connection.execute(_PROBE)
        if missing:
            raise StorageUnavailable(
                f"Tables are missing in PostgreSQL ({', '.join(missing)}): `python -m app migrate`.",
                code="storage_schema",
                passes=False,
            )
        memory.clear()

    async def ownerless(self) -> int:
        """How many conversations belong to no tenant."""
        query = sa.select(sa.func.count()).select_from(conversations).where(conversations.c.tenant == "")
        with storage():
            async with self._engine.connect() as connection:
                return int((await connection.execute(query)).scalar_one())

    async def adopt(self, tenant: str, user_id: str | None = None) -> int:
        """Give what belongs to no tenant (of one user, or all) to `tenant`; return how many conversations."""
        adopted = 0
        with storage():
            async with self._engine.connect() as connection:
                for table in (requests, conversations):
                    change = sa.update(table).where(table.c.tenant == "").values(tenant=tenant)
                    if user_id is not None:
                        change = change.where(table.c.user_id == user_id)
                    adopted = (await connection.execute(change)).rowcount
        return adopted
