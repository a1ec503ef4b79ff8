"""Reads a large result through a server-side cursor, in blocks of as many rows as are worth it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Executable, Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fluido.laws.fetch import Block, Fetch
from fluido.sqlalchemy.cursor import BlockCursor
from fluido.sqlalchemy.entry import hold_of
from fluido.sqlalchemy.fingerprint import fingerprint
from fluido.sqlalchemy.transfer import Transfer

REMEMBERED = 256
FORGET_S = 600.0
# A consumer that stops early waits so long for the block under way; then its connection is given up.
STOP_WAIT_S = 0.25
SAMPLED_ROWS = 16
# Two blocks are in memory at a time, the one that is read and the one that comes: 1 MiB a cursor.
BLOCK_BYTES = 2.0**19


class RowStreams:
    """Streams of one engine; what was learned about a statement is kept for ten minutes.

    Holds about two blocks of `target_bytes` in memory, whatever the width of the rows: the next block is
    asked for while the last one is consumed.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        target_bytes: float = BLOCK_BYTES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = engine
        self._target_bytes = target_bytes
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Fetch, Transfer]] = OrderedDict()

    def stream(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> "RowStream":
        """`async with streams.stream(select) as rows: async for row in rows: ...`

        The stream has a connection of its own, in a transaction of its own, until the block ends. Give it a
        statement that reads. Errors are those of `AsyncConnection.stream`.
        """
        law, transfer = self._of(fingerprint(str(statement)))
        return RowStream(self._engine, statement, parameters, law=law, transfer=transfer, clock=self._clock)

    def _of(self, label: str) -> tuple[Fetch, Transfer]:
        now_s = self._clock()
        known = self._known.pop(label, None)
        if known is None or now_s - known[0] > FORGET_S:
            law, transfer = Fetch(target_bytes=self._target_bytes), Transfer()
        else:
            _, law, transfer = known
        self._known[label] = (now_s, law, transfer)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return law, transfer


class RowStream:
    """One result, read in blocks. Iterate over rows, or over `blocks()` where every microsecond counts.

    `pending` is the block that is on its way.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        statement: Executable,
        parameters: Mapping[str, Any] | None,
        *,
        law: Fetch,
        transfer: Transfer,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._statement = statement
        self._parameters = parameters
        self._law = law
        self._transfer = transfer
        self._clock = clock
        self._connection: AsyncConnection | None = None
        self._cursor: BlockCursor | None = None
        self.pending: asyncio.Task[tuple[Sequence[Row[Any]], float]] | None = None
        self._first: Sequence[Row[Any]] = ()
        self._block: Sequence[Row[Any]] = ()
        self._given = 0
        self._took_s = 0.0

    async def __aenter__(self) -> Self:
        self._connection = await self._engine.connect().start()
        try:
            raw = await self._connection.get_raw_connection()
            hold = hold_of(raw)
            if hold is not None:
                hold.reported = True  # a stream is held for long by design
            if getattr(raw.dbapi_connection, "autocommit", False):  # the dialect's own question is not in 2.0
                # A cursor lives in a transaction.
                await self._connection.execution_options(isolation_level="READ COMMITTED")
            result = await self._connection.stream(self._statement, self._parameters)
            self._cursor = BlockCursor(result)
            self._first = await self._cursor.primed()
            self._ask()
        except BaseException:
            await self._connection.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        try:
            if self.pending is not None:
                if self._block:
                    self._learn(0.0)
                await self._stop(self.pending)
        finally:
            self.pending = None
            if connection is not None:
                await asyncio.shield(connection.close())

    async def __aiter__(self) -> AsyncIterator[Row[Any]]:
        async for block in self.blocks():
            for row in block:
                self._given += 1
                yield row

    async def blocks(self) -> AsyncIterator[Sequence[Row[Any]]]:
        """Lists of rows, as they were fetched."""
        if self._first:
            first, self._first = self._first, ()
            yield first
        while self.pending is not None:
            self._block, self._took_s = await self.pending
            self.pending = None
            if not self._block:
                return
            self._ask()
            self._given = 0
            started_s = self._clock()
            yield self._block
            # Who takes blocks has consumed one when it asks for the next; who takes rows has counted them.
            self._given = len(self._block)
            self._learn(self._clock() - started_s)

    def _ask(self) -> None:
        if self._cursor is None:
            raise RuntimeError("a stream is read inside of `async with`")
        rows = max(1, int(min(self._law.value, self._law.hard_rows)))
        self.pending = asyncio.get_running_loop().create_task(self._fetch(self._cursor, rows))

    async def _fetch(self, cursor: BlockCursor, rows: int) -> tuple[Sequence[Row[Any]], float]:
        started_s = self._clock()
        block = await cursor.fetch(rows)
        took_s = self._clock() - started_s
        if len(block) == rows:
            self._transfer.add(rows, took_s)
        return block, took_s

    def _learn(self, consume_s: float) -> None:
        rows = len(self._block)
        sizes = sorted(_bytes_of(row) for row in self._block[:: max(1, rows // SAMPLED_ROWS)])
        self._law.observe_block(
            Block(
                rows=rows,
                bytes=rows * sum(sizes) / len(sizes),
                round_trip_s=self._transfer.round_trip_s or self._took_s,
                server_s=rows * self._transfer.per_row_s,
                consume_s=consume_s,
                consumed=self._given,
                row_bytes_p95=sizes[int(0.95 * (len(sizes) - 1))],
            )
        )
        self._block = ()

    @staticmethod
    async def _stop(task: asyncio.Task[Any]) -> None:
        """Let the block under way arrive, so that the connection stays good; not for long."""
        await asyncio.wait((task,), timeout=STOP_WAIT_S)
        if not task.cancel() and not task.cancelled():
            task.exception()


def _bytes_of(row: Row[Any]) -> int:
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
