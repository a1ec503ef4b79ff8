"""Server-side cursor: reads a large result in blocks of as many rows as are worth it."""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

from sqlalchemy import CursorResult, Executable, Row, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncResult
from sqlalchemy.util import await_only, greenlet_spawn

from fluido.laws._fetch import Block, Fetch
from fluido.sqlalchemy._hold import Hold, hold_of
from fluido.sqlalchemy._sizes import size_of_row
from fluido.sqlalchemy._statements import fingerprint

REMEMBERED = 256
FORGET_S = 600.0
# A consumer that stops early waits so long for the block under way; then its connection is given up, which
# the driver may take another while for.
STOP_WAIT_S, GIVE_UP_S = 0.25, 2.0
# Rows whose size is looked at in each block; wide rows take longer to look at, and there are fewer of them.
SAMPLED_ROWS, SAMPLED_WIDE_ROWS, WIDE_BYTES = 16, 5, 4096
# Two blocks are in memory at a time, the one that is read and the one that comes: 1 MiB a cursor.
BLOCK_BYTES = 2.0**19
# The first blocks of a statement that is not known yet grow like those of SQLAlchemy's own buffer: the rows
# of a slow query come as soon, and a row wider than expected costs little.
FIRST_ROWS, FASTER = 5, 5
# The rows of a slow query are not kept waiting for each other longer than this.
BLOCK_S = 0.1

_logger = logging.getLogger("fluido.sqlalchemy")
FORGET = 0.8


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


class Transfer:
    """A straight line through (rows, seconds) of the last blocks: seconds = round trip + rows * per row."""

    __slots__ = ("_n", "_nn", "_nt", "_shortest_s", "_t", "_w")

    def __init__(self) -> None:
        self._w = self._n = self._t = self._nn = self._nt = 0.0
        self._shortest_s = 0.0

    def add(self, rows: int, took_s: float) -> None:
        """One block that was fetched."""
        self._shortest_s = took_s if not self._w else min(1.05 * self._shortest_s, took_s)
        self._w = FORGET * self._w + 1.0
        self._n = FORGET * self._n + rows
        self._t = FORGET * self._t + took_s
        self._nn = FORGET * self._nn + rows * rows
        self._nt = FORGET * self._nt + rows * took_s

    @property
    def known(self) -> bool:
        """Whether any block was seen."""
        return self._w > 0.0

    @property
    def per_row_s(self) -> float:
        """Seconds a row takes on its way; 0 until blocks of different sizes were seen."""
        spread = self._w * self._nn - self._n * self._n
        if spread <= 1e-9 * max(self._nn, 1.0):
            return 0.0
        return max(0.0, (self._w * self._nt - self._n * self._t) / spread)

    @property
    def round_trip_s(self) -> float:
        """Seconds of an empty block; never more than the shortest one took."""
        if not self._w:
            return 0.0
        return min(max(0.0, (self._t - self.per_row_s * self._n) / self._w), self._shortest_s)


class RowStreams:
    """Streams of one engine; what was learned about a statement is kept for ten minutes.

    Holds about two blocks of `target_bytes` in memory, whatever the width and the type of the rows: the next
    block is asked for while the last one is consumed. From a server that is far away a block of wide rows has
    up to four times as much.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        target_bytes: float = BLOCK_BYTES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self._target_bytes = target_bytes
        self._known: OrderedDict[str, tuple[float, Fetch, Transfer]] = OrderedDict()

    def stream(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> "RowStream":
        """`async with streams.stream(select) as rows: async for row in rows: ...`

        The stream has a connection of its own, in a transaction of its own, until the block ends. Give it a
        statement that reads. Rows and errors are those of `AsyncConnection.stream`: `select(Model)` gives
        the columns of the model.
        """
        return RowStream(self, statement, parameters)

    def known(self, label: str) -> tuple[Fetch, Transfer]:
        """What was learned about a statement, or what there is to learn it with."""
        now_s = self.clock()
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

    Whoever stops iterating goes on where it was when it iterates again. `pending` is the block that is on
    its way.
    """

    def __init__(
        self, streams: RowStreams, statement: Executable, parameters: Mapping[str, Any] | None
    ) -> None:
        self._streams = streams
        self._clock = streams.clock
        self._statement = statement
        self._parameters = parameters
        self._law, self._transfer = Fetch(), Transfer()
        self._connection: AsyncConnection | None = None
        self._cursor: BlockCursor | None = None
        self._hold: Hold | None = None
        self.pending: asyncio.Task[tuple[Sequence[Row[Any]], float]] | None = None
        self._block: Sequence[Row[Any]] = ()
        self._sizes: list[int] = []  # bytes of some of its rows
        self._position = 0
        self._most = math.inf  # rows of the next block, while too little is known
        self._took_s = self._given_s = 0.0
        self._exhausted = False

    async def __aenter__(self) -> Self:
        engine = self._streams.engine
        self._connection = await engine.connect().start()
        try:
            raw = await self._connection.get_raw_connection()
            self._hold = hold_of(raw)
            if self._hold is not None:
                self._hold.reported = True  # a stream is held for long by design
            if getattr(raw.dbapi_connection, "autocommit", False):  # 2.0's dialects have no question for it
                # A cursor lives in a transaction.
                await self._connection.execution_options(isolation_level="READ COMMITTED")
            result = await self._connection.stream(self._statement, self._parameters)
            self._cursor = BlockCursor(result)
            self._law, self._transfer = self._streams.known(fingerprint(self._cursor.statement))
            self._block = await self._cursor.primed()
            if not self._transfer.known:
                self._most = max(FIRST_ROWS, len(self._block))
            self._ask()
        except BaseException:
            await asyncio.shield(self._connection.close())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        pending, self.pending = self.pending, None
        sound = False
        try:
            if pending is not None:
                self._learn()
            sound = pending is None or await self._stopped(pending)
        finally:
            if connection is not None:
                await asyncio.shield(_closed(connection, sound=sound))

    async def __aiter__(self) -> AsyncIterator[Row[Any]]:
        while True:
            block = self._block
            while (position := self._position) < len(block):
                self._position = position + 1
                yield block[position]
            if not await self._advance():
                return

    async def __anext__(self) -> Row[Any]:
        """The next row."""
        while self._position >= len(self._block):
            if not await self._advance():
                raise StopAsyncIteration
        self._position += 1
        return self._block[self._position - 1]

    async def blocks(self) -> AsyncIterator[Sequence[Row[Any]]]:
        """Lists of rows, as they were fetched."""
        while True:
            rest = self._block[self._position :] if self._position else self._block
            self._position = len(self._block)
            if rest:
                yield rest
            if not await self._advance():
                return

    async def _advance(self) -> bool:
        """Take the next block; whether there is one. Who is cancelled here may go on later."""
        if self._exhausted:
            return False
        if self.pending is None:
            raise exc.ResourceClosedError("This stream is closed: it is read inside of its `async with`.")
        self._learn()
        self._block, self._position = (), 0
        await asyncio.wait((self.pending,))
        pending, self.pending = self.pending, None
        self._block, self._took_s = pending.result()
        if not self._block:
            self._exhausted = True
            return False
        self._most *= FASTER
        self._ask()
        self._given_s = self._clock()
        return True

    def _ask(self) -> None:
        assert self._cursor is not None  # noqa: S101  (only called inside)
        law, per_row_s = self._law, self._transfer.per_row_s
        rows = min(law.value, law.hard_rows, self._most)
        self._sizes = _sizes(self._block)
        if self._sizes:
            rows = min(rows, law.block_bytes * len(self._sizes) / sum(self._sizes))
        if per_row_s > 0.0:
            rows = min(rows, BLOCK_S / per_row_s)
        self.pending = asyncio.get_running_loop().create_task(self._fetch(self._cursor, max(1, int(rows))))

    async def _fetch(self, cursor: BlockCursor, rows: int) -> tuple[Sequence[Row[Any]], float]:
        hold, started_s = self._hold, self._clock()
        if hold is not None:
            hold.begin_untimed()
        try:
            block = await cursor.fetch(rows)
        finally:
            if hold is not None:
                hold.end_untimed()
        took_s = self._clock() - started_s
        if len(block) == rows:
            self._transfer.add(rows, took_s)
        return block, took_s

    def _learn(self) -> None:
        """Tell the law of the block that was consumed, if it was fetched by its word."""
        rows = len(self._block)
        if not rows or not self._took_s:
            return
        sizes = sorted(self._sizes)
        self._law.observe_block(
            Block(
                rows=rows,
                bytes=rows * sum(sizes) / len(sizes),
                round_trip_s=self._transfer.round_trip_s if self._transfer.known else self._took_s,
                server_s=rows * self._transfer.per_row_s,
                consume_s=self._clock() - self._given_s,
                consumed=self._position,
                row_bytes_p95=sizes[int(0.95 * (len(sizes) - 1))],
            )
        )

    @staticmethod
    async def _stopped(task: asyncio.Task[Any]) -> bool:
        """Let the block under way arrive, so that the connection stays good; not for long. Whether it did."""
        await asyncio.wait((task,), timeout=STOP_WAIT_S)
        if task.cancel():
            await asyncio.wait((task,), timeout=GIVE_UP_S)
            return False
        if not task.cancelled():
            task.exception()  # what lies beyond the last row that was read is nobody's error
        return True


async def _closed(connection: AsyncConnection, *, sound: bool) -> None:
    """Give the connection back. One that was left in the middle of a fetch is closed: nobody's concern."""
    if sound:
        await connection.close()
        return
    try:
        await connection.invalidate()
        await connection.close()
    except (exc.SQLAlchemyError, OSError) as error:
        _logger.debug("A stream was left early and its connection given up: %s", error)


def _sizes(block: Sequence[Row[Any]]) -> list[int]:
    if not block:
        return []
    first = size_of_row(block[0])
    most = SAMPLED_ROWS if first < WIDE_BYTES else SAMPLED_WIDE_ROWS
    return [size_of_row(row) for row in block[:: -(-len(block) // most)]]
