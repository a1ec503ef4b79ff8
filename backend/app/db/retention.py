"""Rows that nobody asks for any more: old idempotency keys and timings, deleted a few at a time."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.failures import StorageUnavailable

from .failures import storage

log = structlog.get_logger(__name__)

EVERY_S = 3600.0
FIRST_S = 60.0
BATCH = 1_000
# Between two batches, so that the pool is never busy with this alone.
PAUSE_S = 0.2

# Old rows stand at the beginning of both indexes. Replicas that clean at once take different rows. An answer
# under way renews its key, and is younger than any bound that makes sense.
_OLD = {
    "requests": sa.text(
        """
        DELETE FROM requests WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM requests WHERE created_at < now() - CAST(:age AS interval)
              AND answering_until < now() ORDER BY created_at LIMIT :batch FOR UPDATE SKIP LOCKED))
        """
    ),
    "timings": sa.text(
        """
        DELETE FROM timings WHERE ctid = ANY(ARRAY(
            SELECT t.ctid FROM timings t JOIN (SELECT answer_id FROM timings ORDER BY answer_id LIMIT
            :batch) o
              USING (answer_id)
            WHERE t.created_at < now() - CAST(:age AS interval) FOR UPDATE OF t SKIP LOCKED))
        """
    ),
}


class Retention:
    """Deletes rows older than their age (`requests_days`, `timings_days`; 0 keeps them) once an hour."""

    def __init__(self, engine: AsyncEngine, *, requests_days: float, timings_days: float) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._days = {"requests": requests_days, "timings": timings_days}
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin, a minute from now."""
        if any(self._days.values()) and self._task is None:
            self._task = asyncio.create_task(self._run(), name="retention")

    async def close(self) -> None:
        """Stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def clean(self, batch: int = BATCH) -> dict[str, int]:
        """Delete what is old now; return how many rows of each table."""
        gone = dict.fromkeys(self._days, 0)
        for table, days in self._days.items():
            while days:
                with storage():
                    async with self._engine.connect() as connection:
                        values = {"age": timedelta(days=days), "batch": batch}
                        count = (await connection.execute(_OLD[table], values)).rowcount
                gone[table] += count
                if count < batch:
                    break
                await asyncio.sleep(PAUSE_S)
        return gone

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                gone = await self.clean()
            except StorageUnavailable:
                pass  # the trouble has its line; in an hour again
            except Exception:
                log.exception("old rows not deleted")
            else:
                if any(gone.values()):
                    log.info("old rows deleted", **gone)
            await asyncio.sleep(EVERY_S)
