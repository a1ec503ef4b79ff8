"""Fetches exactly so many rows in one round trip, whatever the driver's adapter in between does."""

from collections.abc import Sequence
from typing import Any, NoReturn

from sqlalchemy import CursorResult, Row
from sqlalchemy.ext.asyncio import AsyncResult
from sqlalchemy.util import await_only, greenlet_spawn


class BlockCursor:
    """The server-side cursor of a stream.

    With asyncpg, SQLAlchemy's adapter asks for 50 rows first, then for the rest; its row buffer is
    filled here in one request instead, and SQLAlchemy turns the rows into what the statement selects.
    """

    def __init__(self, result: AsyncResult[Any]) -> None:
        # AsyncResult has no public way to the Result it wraps.
        real: Any = result._real_result
        self._result: CursorResult[Any] = real
        adapter: Any = real.cursor
        self._adapter = adapter if hasattr(adapter, "_rowbuffer") else None

    @property
    def statement(self) -> str:
        """The text that was sent: what the engine's own dialect made of the statement."""
        context: Any = self._result.context
        return str(context.statement or "")

    async def primed(self) -> Sequence[Row[Any]]:
        """The rows that came with the result: the first, and with asyncpg the 50 of SQLAlchemy's adapter."""
        more = 0 if self._adapter is None else len(self._adapter._rowbuffer)
        return await greenlet_spawn(self._result.fetchmany, 1 + more)

    async def fetch(self, rows: int) -> Sequence[Row[Any]]:
        """The next `rows` rows; fewer at the end, none after it."""
        return await greenlet_spawn(self._fetch, rows)

    def _fetch(self, rows: int) -> Sequence[Row[Any]]:
        adapter = self._adapter
        if adapter is None:
            return self._result.fetchmany(rows)
        if adapter._cursor is None:  # SQLAlchemy closed it: there was no row at all
            return ()
        try:
            records = await_only(adapter._cursor.fetch(rows))
        except Exception as error:  # noqa: BLE001  (the driver's error, raised again as SQLAlchemy's)
            self._raise(adapter, error)
        if not records:
            self._result.close()
            return ()
        adapter._rowbuffer.extend(records)
        return self._result.fetchmany(len(records))

    def _raise(self, adapter: Any, error: Exception) -> NoReturn:
        """As SQLAlchemy would have raised it."""
        try:
            adapter._handle_exception(error)
        except Exception as translated:  # noqa: BLE001  (as above)
            self._result.cursor_strategy.handle_exception(self._result, adapter, translated)
        raise error
