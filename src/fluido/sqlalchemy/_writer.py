"""Group commit: rows of many callers in one INSERT, with the promise of a commit for each."""

import logging
import time
from collections.abc import Callable, Hashable, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from fluido._metrics import FlowStats
from fluido.flow._batcher import Batcher
from fluido.flow._bisect import HELD, Refused
from fluido.flow._write_behind import WriteBehind
from fluido.laws._base import Law
from fluido.sqlalchemy._errors import is_passing, outcome_of_batch
from fluido.sqlalchemy._insert import Row, RowInsert, Target
from fluido.sqlalchemy._plain import LOCK_PATIENCE_S
from fluido.sqlalchemy._rows import RowWriter, Verdict
from fluido.sqlalchemy._sizes import size_of_row
from fluido.sqlalchemy._surroundings import Context, Partition, Surroundings
from fluido.sqlalchemy._suspicion import reason_of

MAX_BATCH_BYTES = 8 * 2**20
log = logging.getLogger("fluido.sqlalchemy")


class GroupWriter:
    """`await writer.add(row)` returns when the row is committed; what arrives meanwhile is the next batch.

    There is no timer: an idle writer stores a single row at once. A row is stored as one INSERT by SQLAlchemy
    would store it, or refused: a row that the server refuses fails only its own caller. A caller cancelled
    before its row was sent takes it back. Rows are stored in the order of `add`, but for those that the
    server refuses or that look as if it will, and for those that wait for a lock: the others do not wait for
    them longer than a quarter of a second each.

    `table` is a Table or a mapped class; rows and answers use column keys or attribute names. With
    `returning` the caller gets those columns, or None where a trigger skipped the row. With `key` (columns of
    a unique constraint) nothing is stored twice, a row that was there is answered, and a write whose outcome
    was lost is repeated for up to `retry_s`; without, that raises OutcomeUnknown.

    Batches run in the context variables of the writer's construction. Where hooks of the engine or column
    types may read others, rows of callers whose variables differ are kept apart, and stored in theirs.
    `partition` says instead what keeps rows apart; it is called with each row, in its caller's context.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        table: Target,
        *,
        returning: Sequence[str] | str = (),
        key: Sequence[str] | str = (),
        partition: Partition | None = None,
        max_pending: int = 20_000,
        max_bytes: float = MAX_BATCH_BYTES,
        retry_s: float = 5.0,
        law: Law | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._insert = RowInsert(table, returning=returning, key=key)
        surroundings = Surroundings(engine, self._insert.table, partition)
        rows = RowWriter(engine, self._insert, surroundings, retry_s=retry_s, clock=clock)
        self._batcher: Batcher[Row, Verdict] = Batcher(
            rows.write,
            name=f"write:{self._insert.table.name}",
            max_pending=max_pending,
            max_bytes=max_bytes,
            size=_size_of,
            classify=outcome_of_batch,
            origin=_origin(surroundings, self._insert),
            surround=surroundings.around,
            patience_s=LOCK_PATIENCE_S,
            law=law,
            clock=clock,
        )

    async def add(self, row: Row) -> Row | None:
        """Store one row, a mapping from column to value; returns after its commit, with `returning` if asked.

        Raises ValueError at once for a column the table does not have, what a Python default raises,
        BufferFull when `max_pending` rows wait, what the server said about this row, OutcomeUnknown, Closed.
        """
        return await self._batcher.add(self._insert.complete(row))  # type: ignore[return-value]

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


def _origin(
    surroundings: Surroundings, insert: RowInsert
) -> Callable[[Row], tuple[Hashable, Context | None]]:
    """Keeps rows apart by their surroundings, and those that may be repeated from those that may not."""
    if not insert.key:
        return surroundings.of

    def of(row: Row) -> tuple[Hashable, Context | None]:
        group, context = surroundings.of(row)
        return (group, insert.keyed(row)), context

    return of


def log_refused(rows: Sequence[Row], error: BaseException) -> None:
    """The default for rows that cannot be stored: how many and why, never what they hold."""
    log.error("%d row(s) were not stored: %s", len(rows), reason_of(error))


class RowsBehind(WriteBehind[Row]):
    """A buffer of rows: checks and completes each one in its caller's context, when it is given."""

    insert: RowInsert

    def offer(self, item: Row) -> None:
        """Buffer a row without waiting. ValueError for an unknown column; BufferFull, Closed."""
        super().offer(self.insert.complete(item))

    async def put(self, item: Row) -> None:
        """Buffer a row, waiting for room in order. Errors as for `offer`."""
        await super().put(self.insert.complete(item))


def write_behind(
    engine: AsyncEngine,
    table: Target,
    *,
    key: Sequence[str] | str = (),
    partition: Partition | None = None,
    max_pending: int = 50_000,
    max_bytes: float = 64 * 2**20,
    staleness_s: float = 0.1,
    rejected: Callable[[Sequence[Row], BaseException], None] = log_refused,
    law: Law | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> WriteBehind[Row]:
    """A buffer of rows nobody waits for, stored at the latest `staleness_s` after they came.

    While the server is away a write is repeated, and the log says so: with `key` a row is stored once,
    without at least once. A row that is refused for any other reason is rejected at once, the others go on; a
    row that waits for a lock is stored when it can be. Once the engine was closed, rows are rejected with
    Closed: close the buffer first.
    """
    insert = RowInsert(table, key=key)
    surroundings = Surroundings(engine, insert.table, partition)
    rows = RowWriter(engine, insert, surroundings, retry_s=0.0, clock=clock)

    async def write(items: Sequence[Row]) -> Sequence[Verdict] | None:
        try:
            verdicts = await rows.write(items)
        except Exception as error:
            if is_passing(error):
                raise
            return [Refused(error)] * len(items)
        return [_again(verdict) for verdict in verdicts] if verdicts else None

    behind = RowsBehind(
        write,
        name=f"behind:{insert.table.name}",
        max_pending=max_pending,
        max_bytes=max_bytes,
        size=_size_of,
        staleness_s=staleness_s,
        origin=surroundings.of,
        surround=surroundings.around,
        rejected=rejected if rejected is log_refused else _logged(rejected),
        law=law,
        clock=clock,
    )
    behind.insert = insert
    return behind


def _again(verdict: Verdict) -> Verdict:
    return HELD if isinstance(verdict, Refused) and is_passing(verdict.error) else verdict


def _logged(
    rejected: Callable[[Sequence[Row], BaseException], None],
) -> Callable[[Sequence[Row], BaseException], None]:
    def both(rows: Sequence[Row], error: BaseException) -> None:
        log_refused(rows, error)
        rejected(rows, error)

    return both


def _size_of(row: Row) -> int:
    return size_of_row(row.values())
