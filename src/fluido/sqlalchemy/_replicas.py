"""Read replicas: reads on standbys that are proven to be recent; everything else on the primary."""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fluido.errors import Closed
from fluido.sqlalchemy._pool import AdaptivePool
from fluido.sqlalchemy._watch import Watch

MARKS = 64
CHECKS_PER_LAG = 4
LONGEST_PAUSE_S = 1.0

_PRIMARY = "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"
# NULL once it was promoted: from then on it has a history of its own.
_STANDBY = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() - '0/0'::pg_lsn END"

_logger = logging.getLogger("fluido.sqlalchemy")


class ReadReplicas:
    """`async with replicas.connect() as connection:` reads, from a standby at most `max_lag_s` behind.

    A standby is used while it is *proven* recent: it has replayed a position of the log that the primary had
    flushed at most `max_lag_s` ago. That needs no privilege and no synchronised clocks, and a standby whose
    primary is gone is not mistaken for one with nothing to do. When none qualifies, or its connection is
    refused, the primary is read. Either way the transaction is read only.

    What a caller has just written may be missing for up to `max_lag_s`: pass `after=await
    replicas.position()`, taken after the commit, and only standbys that have replayed so much are used; they
    are asked where the last look is too old to tell. PostgreSQL's own form, "0/16B3748", will do as well.
    (Commits that do not wait for the disk, synchronous_commit=off, may be missing from a position for
    another 0.6 s.) A long read on a standby may be cancelled by what it replays (SQLSTATE 40001, 40P01):
    repeat it.

    `open()` starts one task that asks each server several times per `max_lag_s`, on a connection of its own
    beside the pool's. Engines are fluido's and stay the caller's: `close()` closes none of them.
    """

    def __init__(
        self,
        primary: AsyncEngine,
        standbys: AsyncEngine | Sequence[AsyncEngine],
        *,
        max_lag_s: float = 1.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not 0.0 < max_lag_s < float("inf"):
            raise ValueError(f"max_lag_s must be finite and above zero, not {max_lag_s}")
        self.primary = primary
        self.max_lag_s = max_lag_s
        self._clock = clock
        self._source = Watch(primary, _PRIMARY)
        engines = [standbys] if isinstance(standbys, AsyncEngine) else standbys
        self._standbys = [Standby(Watch(engine, _STANDBY)) for engine in engines]
        self._marks: deque[tuple[float, int]] = deque(maxlen=MARKS)
        self._turns = itertools.count()
        self._task: asyncio.Task[None] | None = None
        self._opened = self._closed = False

    async def open(self) -> Self:
        """Look once at every server, then from time to time until `close()`. Idempotent."""
        if self._closed:
            raise Closed("the replicas were closed")
        if self._task is None and self._standbys:
            self._task = asyncio.get_running_loop().create_task(self._watch())
            await self.look()
        self._opened = True
        return self

    async def close(self) -> None:
        """Stop looking. Idempotent."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for watch in self._watches():
            await watch.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def connect(self, *, after: int | str | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection whose transactions only read, on a standby where one qualifies.

        Raises Closed before `open()` and after `close()`: every read would go to the primary.
        """
        self._check_open()
        position = None if after is None else position_of(after)
        if position is not None and self._choose(position) is None:
            # It was replayed since we looked, more often than not.
            await asyncio.gather(*(self._look_for(position, standby) for standby in self._recent()))
        standby = self._choose(position)
        connection = None if standby is None else await self._try(standby)
        if connection is None:
            connection = await self.primary.connect().start()
        try:
            await connection.execution_options(postgresql_readonly=True)
            yield connection
        finally:
            await asyncio.shield(connection.close())

    def engine(self, *, after: int | str | None = None) -> AsyncEngine:
        """The engine that `connect` would use now, by what is known of the standbys."""
        self._check_open()
        standby = self._choose(None if after is None else position_of(after))
        return self.primary if standby is None else standby.watch.engine

    async def position(self) -> int:
        """How much the primary has flushed: what is committed now can be read where so much was replayed."""
        position = await self._source.ask()
        if position is None:
            raise exc.InvalidRequestError("the primary told no position of its log")
        return position

    def lags_s(self) -> list[float]:
        """For each standby the age of the newest state that it is proven to have; inf for none."""
        now_s = self._clock()
        return [now_s - standby.recent_s for standby in self._standbys]

    async def look(self) -> None:
        """Ask the primary where it is, then every standby how far it came."""
        asked_s = self._clock()
        try:
            self._marks.append((asked_s, await self.position()))
        except (OSError, exc.SQLAlchemyError) as error:
            self._source.complain(error)
        await asyncio.gather(*(self._look_at(standby) for standby in self._standbys))

    async def _look_for(self, position: int, standby: "Standby") -> None:
        async with standby.looking:
            if standby.replayed < position:  # else whoever asked before us learned enough
                await self._look_at(standby)

    async def _look_at(self, standby: "Standby") -> None:
        try:
            replayed = await standby.watch.ask()
        except (OSError, exc.SQLAlchemyError) as error:
            standby.watch.complain(error)
            replayed = None
        standby.replayed = -1 if replayed is None else replayed
        known = [at_s for at_s, position in self._marks if position <= standby.replayed]
        standby.recent_s = max([standby.recent_s, *known]) if replayed is not None else float("-inf")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(self.max_lag_s / CHECKS_PER_LAG, LONGEST_PAUSE_S))
            await self.look()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the replicas were closed")
        if not self._opened:
            raise Closed(
                "the replicas were not opened: `async with ReadReplicas(...) as replicas`, or `await open()`"
            )

    def _recent(self) -> "list[Standby]":
        oldest_s = self._clock() - self.max_lag_s
        return [standby for standby in self._standbys if standby.recent_s >= oldest_s]

    def _choose(self, after: int | None) -> "Standby | None":
        fit = [standby for standby in self._recent() if after is None or standby.replayed >= after]
        if not fit:
            return None
        # The one with the least to do; equals take turns.
        first = next(self._turns) % len(fit)
        return min(fit[first:] + fit[:first], key=Standby.busy)

    async def _try(self, standby: "Standby") -> AsyncConnection | None:
        try:
            return await standby.watch.engine.connect().start()
        except (OSError, exc.SQLAlchemyError) as error:
            _logger.info("A standby is not used until it answers again: %s", error)
            standby.recent_s = float("-inf")
            return None

    def _watches(self) -> list[Watch]:
        return [self._source, *(standby.watch for standby in self._standbys)]


class Standby:
    """One standby: how far it came, and when the primary was there."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.replayed = -1
        self.recent_s = float("-inf")
        self.looking = asyncio.Lock()

    def busy(self) -> int:
        """How many callers it has."""
        pool = self.watch.engine.pool
        return pool.gate.inflight + pool.gate.waiting if isinstance(pool, AdaptivePool) else 0


def position_of(after: int | str) -> int:
    """A position of the log: as `position()` answers it, or in PostgreSQL's own form, "0/16B3748".

    Raises TypeError or ValueError for anything else.
    """
    if isinstance(after, int):
        return after
    if not isinstance(after, str):
        raise TypeError(
            f"after takes what `await replicas.position()` answered, or '0/16B3748', not {after!r}"
        )
    high, _, low = after.partition("/")
    try:
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        raise ValueError(
            f"{after!r} is no position of the log: '0/16B3748', or what `await replicas.position()` answered"
        ) from None
