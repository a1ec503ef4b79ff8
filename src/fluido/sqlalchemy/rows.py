"""Stores a batch of rows in one statement, and knows what is certain when that fails."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import groupby

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fluido.flow.label import label
from fluido.sample import Outcome
from fluido.sqlalchemy.errors import OutcomeUnknown
from fluido.sqlalchemy.insert import Row, UnnestInsert
from fluido.sqlalchemy.outcome import sqlstate_of

FIRST_BACK_OFF_S = 0.02
LONGEST_BACK_OFF_S = 0.5

# 22 and 23: a value or a constraint; 44: a view's check; P0: a trigger that refuses.
_POISON = ("22", "23", "44", "P0")
# The server undid the whole statement for the sake of another one.
_UNDONE = ("40001", "40P01")
# Too large or too slow: 57014 cancelled by a timeout, 53200 out of memory, 54 a program limit.
_TOO_MUCH = ("57014", "53200", "54")


class RowWriter:
    """`await write(rows)` returns when all rows are committed; it raises when none is, or nobody knows."""

    def __init__(
        self,
        engine: AsyncEngine,
        insert: UnnestInsert,
        *,
        retry_s: float = 5.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.insert = insert
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._label = f"write:{insert.table.name}"
        self._retry_s = retry_s
        self._clock = clock

    async def write(self, rows: Sequence[Row]) -> Sequence[Row | None] | None:
        """Store the rows in order. Answers what was asked to be returned, one for each row, else None."""
        give_up_s = self._clock() + self._retry_s
        back_off_s = FIRST_BACK_OFF_S
        unknown: OutcomeUnknown | None = None
        while True:
            failed: Exception
            try:
                with label(self._label):
                    return await self._attempt(rows)
            except OutcomeUnknown as error:
                if not self.insert.key:
                    raise
                failed = unknown = error
            except (exc.DBAPIError, OSError) as error:
                if unknown is None and sqlstate_of(error) not in _UNDONE:
                    raise
                failed = unknown or error
            if self._clock() + back_off_s > give_up_s:
                raise failed
            await asyncio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, LONGEST_BACK_OFF_S)

    async def _attempt(self, rows: Sequence[Row]) -> Sequence[Row | None] | None:
        groups = [(names, list(group)) for names, group in groupby(rows, self.insert.names_of)]
        alone = len(groups) == 1
        async with (self._autocommit if alone else self._engine).connect() as connection:
            try:
                answers: list[Row | None] = []
                for names, group in groups:
                    answers += await self._store(connection, names, group)
                if not alone:
                    await connection.commit()
            except exc.DBAPIError as error:
                if error.connection_invalidated and not _never_sent(error):
                    raise _unknown(rows) from error
                raise
            except (OSError, TimeoutError) as error:
                raise _unknown(rows) from error
        return answers if self.insert.returning else None

    async def _store(
        self, connection: AsyncConnection, names: tuple[str, ...], rows: Sequence[Row]
    ) -> Sequence[Row | None]:
        insert = self.insert
        result = await connection.execute(insert.statement(names), insert.parameters(names, rows))
        if not insert.returning:
            return []
        stored = [dict(row) for row in result.mappings()]
        if not insert.key:
            # One plan node inserts and returns: in the order of the ordinality it was fed by.
            return stored
        by_key = {tuple(row[name] for name in insert.key): row for row in stored}
        if len(by_key) < len(rows):
            found = await connection.execute(insert.lookup(), insert.parameters(insert.key, rows))
            for row in found.mappings():
                by_key.setdefault(tuple(row[name] for name in insert.key), dict(row))
        return [by_key.get(tuple(row[name] for name in insert.key)) for row in rows]


def is_poison(error: BaseException) -> bool:
    """Whether one row is to blame, and the others can be stored without it."""
    if isinstance(error, exc.StatementError) and not isinstance(error, exc.DBAPIError):
        return True
    return sqlstate_of(error).startswith(_POISON)


def outcome_of_batch(error: BaseException) -> Outcome:
    """What a failed batch says about its size."""
    return Outcome.OVERLOAD if sqlstate_of(error).startswith(_TOO_MUCH) else Outcome.IGNORED


def _never_sent(error: exc.DBAPIError) -> bool:
    """The driver noticed before it sent anything that the connection was gone."""
    return isinstance(error, exc.InterfaceError) and "connection is closed" in str(error.orig)


def _unknown(rows: Sequence[Row]) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"The connection was lost while {len(rows)} row(s) were being stored: all are there, or none.",
        rows=len(rows),
    )
