"""Stores a batch of rows in one transaction, finds the rows that are refused, and knows what is certain."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from fluido.flow._bisect import HELD, Held, Refused
from fluido.flow._label import label
from fluido.sqlalchemy._errors import (
    OutcomeUnknown,
    concerns_all,
    is_stale,
    sqlstate_of,
    state_of_server,
)
from fluido.sqlalchemy._insert import Expressions, Insert, Row, RowInsert
from fluido.sqlalchemy._plain import LOCK_PATIENCE_S, PlainInsert, lock_bound
from fluido.sqlalchemy._surroundings import Surroundings
from fluido.sqlalchemy._suspicion import Suspicion, blamed

Answer = Row | None
Verdict = Answer | Refused | Held

FIRST_BACK_OFF_S = 0.02
LONGEST_BACK_OFF_S = 0.5
# How long rows of many callers wait for a lock together once it is known that one of them does.
NEXT_PATIENCE_S = 0.05

# The server undid the whole statement for the sake of another one.
_UNDONE = ("40001", "40P01")
_LOCKED = "55P03"
# "cached plan must not change result type", after a migration, and much else that is not supported.
_UNSUPPORTED = "0A000"
# Each number of rows is another statement to prepare: larger ones are made up of these few and a rest.
_SIZES = (1000, 768, 512, 384, 256, 192, 128, 96, 64, 48)


# What an engine's options say of its transactions.
_OF_TRANSACTIONS = frozenset({"isolation_level", "postgresql_readonly", "postgresql_deferrable"})
# Rows for one statement, and that statement with its parameters where it is a plain one.
_Work = tuple[Sequence[Row], tuple[Insert, Row] | None]


class Unmatched(Exception):
    """Fewer rows came back than were sent: nobody knows which of them a trigger or a key kept out."""


class RowWriter:
    """`await write(rows)` returns when the rows are committed; it raises when none is, or nobody knows.

    Rows that are refused are found and named in the answer; all others are stored. A single row is stored,
    or fails, exactly as one INSERT.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        insert: RowInsert,
        surroundings: Surroundings,
        *,
        retry_s: float = 5.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.insert = insert
        self._engine = engine.sync_engine
        self._autocommit = engine.sync_engine.execution_options(isolation_level="AUTOCOMMIT")
        options = engine.get_execution_options()
        # Whose transactions are of a kind of his own gets no other.
        self._own_isolation = bool(_OF_TRANSACTIONS & options.keys()) or bool(
            getattr(engine.sync_engine.dialect, "_on_connect_isolation_level", None)
        )
        self._pooled: bool | None = None
        self._psycopg = engine.dialect.driver.startswith("psycopg")
        self._surroundings = surroundings
        self._flat = PlainInsert(insert)
        self._at_once = True  # whether a statement of plain rows may be a transaction by itself
        self._suspicion = Suspicion(insert.table)
        self._names = {column.name: column.key for column in insert.table.columns}
        self._label = f"write:{insert.table.name}"
        self._retry_s = retry_s
        self._clock = clock

    async def write(self, rows: Sequence[Row]) -> Sequence[Verdict] | None:
        """Store the rows in order. Answers what was asked to be returned, one for each row, else None."""
        give_up_s = self._clock() + self._retry_s
        back_off_s = FIRST_BACK_OFF_S
        unknown: OutcomeUnknown | None = None
        while True:
            failed: Exception
            try:
                with label(self._label):
                    # One greenlet for the whole batch: each switch into one costs some ten microseconds.
                    return await greenlet_spawn(self._attempt, rows)
            except OutcomeUnknown as error:
                if not all(map(self.insert.keyed, rows)):
                    raise
                failed = unknown = error
            except (exc.DBAPIError, OSError) as error:
                if unknown is None and state_of_server(error) not in _UNDONE:
                    raise
                failed = unknown or error
            if self._clock() + back_off_s > give_up_s:
                raise failed
            await asyncio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, LONGEST_BACK_OFF_S)

    def _attempt(self, rows: Sequence[Row], refused: Exception | None = None) -> Sequence[Verdict] | None:
        """Store them; `refused` is what a first try ended with."""
        alone = len(rows) == 1
        suspects = [] if alone else self._suspicion.of(rows)
        whole = None if alone or suspects or refused is not None else self._whole_in_one(rows)
        autocommit = whole is not None or (alone and not self._in_transaction())
        engine = self._autocommit if autocommit else self._engine
        connected = False
        try:
            with engine.connect() as connection:
                connected = True
                if self._pooled is None:
                    self._pooled = _is_pooled(connection)
                if alone:
                    answer = self._alone(connection, rows[0])
                    return [answer] if self.insert.returning else None
                if whole is not None:
                    refused, answers = self._store_at_once(connection, whole)
                else:
                    verdicts = self._together(connection, rows, suspects, refused)
        except exc.DBAPIError as error:
            if connected and error.connection_invalidated and not _never_sent(error):
                raise _unknown(rows) from error
            raise
        except (OSError, TimeoutError) as error:
            if connected:
                raise _unknown(rows) from error
            raise
        if whole is not None:
            return answers if refused is None else self._attempt(rows, refused)
        if verdicts is None:
            return self._halves(rows)
        return verdicts if self.insert.returning or any(verdicts) else None

    def _whole_in_one(self, rows: Sequence[Row]) -> tuple[Insert, Row] | None:
        """The statement that stores all of them in a transaction of its own, if they allow it."""
        if not self._at_once or self._in_transaction():
            return None
        groups = list(self._alike(rows))
        return self._flat.whole(rows) if len(groups) == 1 else None

    def _store_at_once(
        self, connection: sa.Connection, whole: tuple[Insert, Row]
    ) -> tuple[Exception | None, Sequence[Verdict] | None]:
        """What was answered; or the error that some row is to blame for, and nothing is stored."""
        insert = self.insert
        try:
            if self._pooled:  # known since a moment ago; from now on there are transactions
                connection.execution_options(isolation_level="READ COMMITTED")
            result = connection.execute(*whole)
            found = result.all() if insert.returning else ()
            if self._pooled:
                connection.commit()
        except Exception as error:
            if _concerns_all(error, connection):
                raise
            if sqlstate_of(error) == _UNSUPPORTED and not is_stale(error):
                self._at_once = False  # the table has rules, which do not go with WITH
            return error, None
        return None, [insert.answer(row[:-1]) for row in found] or None

    def _in_transaction(self) -> bool:
        """Whether a single row needs one: hooks may expect it, and a pooler would part its messages."""
        return bool(self._pooled) or self._own_isolation or self._surroundings.hooked

    # -- one row --

    def _alone(self, connection: sa.Connection, row: Row) -> Answer:
        if self._pooled and _is_autocommit(connection):
            connection = connection.execution_options(isolation_level="READ COMMITTED")
        for again in (True, False):
            try:
                answer = self._store_one(connection, row)
                connection.commit()
            except exc.DBAPIError as error:
                if not again or not is_stale(error):
                    raise
                connection.rollback()
                if self._psycopg and _is_autocommit(connection):
                    # It forgets its prepared statements at a ROLLBACK, which never comes here.
                    connection.exec_driver_sql("DEALLOCATE ALL")
            else:
                return answer
        raise AssertionError("the second turn returns or raises")

    def _store_one(self, connection: sa.Connection, row: Row) -> Answer:
        insert = self.insert
        statement, parameters = insert.one(row)
        result = connection.execute(statement, parameters)
        if not insert.returning:
            return None
        found = result.first()
        if found is not None:
            return insert.answer(found)
        # Kept out by a trigger, or by a row with the same key.
        return self._find(connection, row) if insert.key else None

    def _find(self, connection: sa.Connection, row: Row) -> Answer:
        if not isinstance(row, Expressions):
            statement, parameters = self.insert.lookup(row)
            found = (connection.execute(statement, parameters)).first()
            if found is not None:
                return self.insert.answer(found)
        found = (connection.execute(self.insert.touching(row))).first()
        return None if found is None else self.insert.answer(found)

    # -- many rows, in one transaction --

    def _together(
        self,
        connection: sa.Connection,
        rows: Sequence[Row],
        suspects: Sequence[int],
        refused: Exception | None,
    ) -> list[Verdict] | None:
        """Store what can be stored. None, with nothing stored, if only the COMMIT showed a refusal."""
        doubted = set(suspects)
        trusted = (
            [index for index in range(len(rows)) if index not in doubted] if suspects else range(len(rows))
        )
        verdicts: list[Verdict] = [None] * len(rows)
        if refused is None or sqlstate_of(refused) == _UNSUPPORTED:
            refused = self._all(connection, rows, trusted, verdicts)
        if refused is not None:
            self._begin(connection, NEXT_PATIENCE_S)
            self._isolate(connection, rows, trusted, verdicts, refused)
        self._one_by_one(connection, rows, suspects, verdicts)
        try:
            connection.commit()
        except exc.DBAPIError as error:
            if concerns_all(error):
                raise
            connection.rollback()
            return None  # a deferred constraint
        return verdicts

    def _all(
        self, connection: sa.Connection, rows: Sequence[Row], trusted: Sequence[int], verdicts: list[Verdict]
    ) -> Exception | None:
        """Store those that are trusted; or the error that one of them is to blame for, and none is stored."""
        work = self._work([rows[index] for index in trusted])
        bounded = len(trusted) == len(rows) and all(plain is not None for _, plain in work)
        for again in (True, False):
            self._begin(connection, None if bounded else LOCK_PATIENCE_S)
            try:
                answers = self._store(connection, work)
            except Exception as error:
                if _concerns_all(error, connection):
                    raise
                connection.rollback()
                if not again or not is_stale(error):
                    return error
            else:
                for index, answer in zip(trusted, answers, strict=False):
                    verdicts[index] = answer
                return None
        raise AssertionError("the second turn returns or raises")

    def _halves(self, rows: Sequence[Row]) -> list[Verdict]:
        middle = len(rows) // 2
        verdicts: list[Verdict] = []
        for half in (rows[:middle], rows[middle:]):
            try:
                answers = self._attempt(half)
            except Exception as error:
                if not verdicts and len(half) > 1:
                    raise
                answers = [Refused(error)] * len(half)  # what was stored before stays stored
            verdicts += [None] * len(half) if answers is None else answers
        return verdicts

    def _begin(self, connection: sa.Connection, patience_s: float | None) -> None:
        if _is_autocommit(connection):
            connection.execution_options(isolation_level="READ COMMITTED")
        if patience_s is not None:
            connection.exec_driver_sql(lock_bound(patience_s))

    def _work(self, rows: Sequence[Row]) -> list[_Work]:
        groups = list(self._alike(rows))
        return [(group, self._flat.of(group) if len(group) > 1 else None) for group in groups]

    def _store(self, connection: sa.Connection, work: Sequence[_Work]) -> list[Answer]:
        answers: list[Answer] = []
        for group, plain in work:
            if len(group) == 1:
                answers.append(self._store_one(connection, group[0]))
            elif plain is not None:
                answers += self._answers(connection, group, connection.execute(*plain))
            else:
                answers += self._store_alike(connection, group)
        return answers

    def _alike(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        """Runs of rows for one statement each, in order."""
        start = 0
        while start < len(rows):
            first = rows[start]
            names = first.keys()
            end = start + 1
            if not isinstance(first, Expressions) and names:
                while end < len(rows) and rows[end].keys() == names and type(rows[end]) is type(first):
                    end += 1
            yield rows[start:end]
            start = end

    def _store_alike(self, connection: sa.Connection, rows: Sequence[Row]) -> list[Answer]:
        insert = self.insert
        if not insert.returning and not self._psycopg:
            # asyncpg sends the rows of an executemany in one go; psycopg is faster with one statement.
            connection.execute(insert.plain, rows)
            return []
        statement = insert.many(rows[0])
        answers: list[Answer] = []
        start = 0
        while start < len(rows):
            left = len(rows) - start
            piece = rows[start : start + next((size for size in _SIZES if size <= left), left)]
            answers += self._answers(connection, piece, connection.execute(statement, piece))
            start += len(piece)
        return answers

    def _answers(
        self, connection: sa.Connection, rows: Sequence[Row], result: sa.CursorResult[Any]
    ) -> list[Answer]:
        insert = self.insert
        if not insert.returning:
            return []
        found = result.all()
        if len(found) == len(rows):
            return [insert.answer(row) for row in found]
        if insert.key and not found:
            return [self._find(connection, row) for row in rows]
        raise Unmatched(f"{len(rows)} rows were sent and {len(found)} came back")

    # -- finding the rows that are refused --

    def _isolate(
        self,
        connection: sa.Connection,
        rows: Sequence[Row],
        indices: Sequence[int],
        verdicts: list[Verdict],
        error: Exception,
    ) -> None:
        """Store the rows piece by piece, each behind a savepoint, as long as the rows before went well."""
        connection.exec_driver_sql("SAVEPOINT fluido")
        at, failed, size, refused = 0, len(indices), len(indices), 0
        guess, named = self._guess(error, rows, indices, at, failed)
        while at < len(indices):
            end = min(len(indices), at + size) if failed <= at else guess
            piece = [rows[index] for index in indices[at:end]]
            try:
                answers = self._store(connection, self._work(piece))
            except Exception as caught:
                if _concerns_all(caught, connection):
                    raise
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT fluido")
                if len(piece) > 1:
                    failed = end
                    guess, named = self._guess(caught, rows, indices, at, failed)
                    continue
                verdicts[indices[at]] = _verdict(caught)
                refused += 1
                failed = at = end
                size = max(1, at // refused)
            else:
                for index, answer in zip(indices[at:end], answers, strict=False):
                    verdicts[index] = answer
                at = end
                size *= 2
                guess = at + 1 if at == named else at + max(1, (failed - at) // 2)
                if at < len(indices):
                    connection.exec_driver_sql("SAVEPOINT fluido")

    def _guess(
        self, error: Exception, rows: Sequence[Row], indices: Sequence[int], at: int, failed: int
    ) -> tuple[int, int | None]:
        """Where to cut a piece that failed: before or behind the row that the error names, else in halves."""
        named = blamed(error, [rows[index] for index in indices[at:failed]], self._names)
        if named is None:
            return at + max(1, (failed - at) // 2), None
        return at + max(1, named), at + named

    def _one_by_one(
        self,
        connection: sa.Connection,
        rows: Sequence[Row],
        indices: Sequence[int],
        verdicts: list[Verdict],
    ) -> None:
        guarded = False
        for index in indices:
            if not guarded:
                connection.exec_driver_sql("SAVEPOINT fluido")
            try:
                verdicts[index] = self._store_one(connection, rows[index])
                guarded = False
                self._suspicion.refuted(rows[index])
            except Exception as error:
                if _concerns_all(error, connection):
                    raise
                guarded = True
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT fluido")
                verdicts[index] = _verdict(error)


def _concerns_all(error: Exception, connection: sa.Connection) -> bool:
    if type(error) is TimeoutError and not connection.invalidated:
        return False  # the driver's own timeout for one statement, which it cancelled
    return concerns_all(error)


def _verdict(error: Exception) -> Verdict:
    return HELD if sqlstate_of(error) == _LOCKED else Refused(error)


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.dbapi_connection


def _is_autocommit(connection: sa.Connection) -> bool:
    return bool(_driver(connection).autocommit)


def _is_pooled(connection: sa.Connection) -> bool:
    """Whether asyncpg was told to keep no statements, as one does behind a transaction pooler.

    It prepares and executes in two round trips, and only a transaction makes both reach the same server.
    """
    return getattr(_driver(connection), "_prepared_statement_cache", connection) is None


def _never_sent(error: exc.DBAPIError) -> bool:
    """The driver noticed before it sent anything that the connection was gone."""
    return isinstance(error, exc.InterfaceError) and "connection is closed" in str(error.orig)


def _unknown(rows: Sequence[Row]) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"The connection was lost while {len(rows)} row(s) were being stored: all are there, or none.",
        rows=len(rows),
    )
