"""Rows of many callers in one INSERT, with the promise of a commit for each."""

import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido.flow.batcher import Batcher
from fluido.flow.write_behind import WriteBehind, log_rejected
from fluido.laws.base import Law
from fluido.metrics import FlowStats
from fluido.sqlalchemy.insert import Row, UnnestInsert
from fluido.sqlalchemy.rows import RowWriter, is_poison, outcome_of_batch

MAX_BATCH_BYTES = 8 * 2**20


class GroupWriter:
    """`await writer.add(row)` returns when the row is committed; what arrives meanwhile is the next batch.

    There is no timer: an idle writer stores a single row at once. A row that the server refuses fails only
    its own caller. A caller cancelled before its row was sent takes it back. Rows are stored in the order
    of `add`. With `returning` the caller gets those columns. With `key` (columns of a unique constraint)
    nothing is stored twice and a write whose outcome was lost is repeated for up to `retry_s`; without,
    that raises OutcomeUnknown.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        table: sa.Table,
        *,
        returning: Sequence[str] = (),
        key: Sequence[str] = (),
        max_pending: int = 20_000,
        max_bytes: float = MAX_BATCH_BYTES,
        retry_s: float = 5.0,
        law: Law | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._insert = UnnestInsert(table, returning=returning, key=key)
        rows = RowWriter(engine, self._insert, retry_s=retry_s, clock=clock)
        self._batcher: Batcher[Row, Row | None] = Batcher(
            rows.write,
            name=f"write:{table.name}",
            max_pending=max_pending,
            max_bytes=max_bytes,
            size=size_of,
            poisoned=is_poison,
            classify=outcome_of_batch,
            law=law,
            clock=clock,
        )

    async def add(self, row: Row) -> Row | None:
        """Store one row, a mapping from column to value; returns after its commit, with `returning` if asked.

        Raises ValueError at once for a column the table does not have, BufferFull when `max_pending` rows
        wait, what the server said about this row, OutcomeUnknown, or Closed.
        """
        return await self._batcher.add(self._insert.complete(row))

    async def close(self) -> None:
        """Refuse newcomers and return when everything pending is stored. Idempotent."""
        await self._batcher.close()

    def stats(self) -> FlowStats:
        """Everything one may want to know, at this moment."""
        return self._batcher.stats()

    @property
    def batches(self) -> int:
        """How many batches were written."""
        return self._batcher.batches


def write_behind(
    engine: AsyncEngine,
    table: sa.Table,
    *,
    key: Sequence[str] = (),
    max_pending: int = 50_000,
    max_bytes: float = 64 * 2**20,
    staleness_s: float = 0.1,
    rejected: Callable[[Sequence[Row], BaseException], None] = log_rejected,
    law: Law | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> WriteBehind[Row]:
    """A buffer of rows nobody waits for, stored at the latest `staleness_s` after they came.

    A lost write is repeated: with `key` a row is stored once, without at least once.
    """
    rows = RowWriter(engine, UnnestInsert(table, key=key), retry_s=0.0, clock=clock)

    async def write(items: Sequence[Row]) -> None:
        await rows.write([rows.insert.complete(item) for item in items])

    return WriteBehind(
        write,
        name=f"behind:{table.name}",
        max_pending=max_pending,
        max_bytes=max_bytes,
        size=size_of,
        staleness_s=staleness_s,
        poisoned=is_poison,
        rejected=rejected,
        law=law,
        clock=clock,
    )


def size_of(row: Row) -> int:
    """About how many bytes a row takes on its way: texts and binaries by their length, all else by eight."""
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row.values())
