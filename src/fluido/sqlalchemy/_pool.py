"""Connection pool for async SQLAlchemy engines whose queue is fair, bounded and ours."""

import asyncio
import math
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, Pool
from sqlalchemy.pool.base import _AsyncConnDialect
from sqlalchemy.util import await_only

from fluido._metrics import FlowStats, Histogram
from fluido._sample import Outcome, Sample
from fluido.errors import Closed, LimitReached, WaitTimeout
from fluido.flow._label import current_label
from fluido.flow._limiter import Limiter
from fluido.flow._memory import Kept
from fluido.flow._obeyed import Obeyed
from fluido.flow._spans import listening, part
from fluido.laws._base import Law
from fluido.laws._brake import Brake
from fluido.laws._fixed import Fixed
from fluido.laws._lanes import Lanes
from fluido.sqlalchemy._blame import explained
from fluido.sqlalchemy._errors import outcome_of_connect
from fluido.sqlalchemy._follower import Follower
from fluido.sqlalchemy._gate import ConnectionGate
from fluido.sqlalchemy._hold import Entry, Hold
from fluido.sqlalchemy._keeper import Keeper
from fluido.sqlalchemy._limits import Limits, default_law, stock_limits
from fluido.sqlalchemy._relief import Relief


class AdaptivePool(Pool):
    """Waits in a FIFO gate that hands permits over, then takes a free connection or opens one.

    For async engines (asyncpg, psycopg 3): `create_async_engine(url, poolclass=AdaptivePool,
    limit=Limits(...))`, or simply `fluido.sqlalchemy.create_async_engine`, which also measures statements.
    Without `limit` it is a fair pool of fixed size: `pool_size` connections are kept, `pool_size +
    max_overflow` are opened at most. An overflowing connection is not closed when it comes back, but when
    nobody needed it for a minute. The connection used last is handed out first, unless `use_lifo` is false.
    Waiting longer than `timeout` seconds raises PoolTimeout, a `sqlalchemy.exc.TimeoutError`.
    """

    _is_asyncio = True
    _dialect = _AsyncConnDialect()

    # SQLAlchemy finds the arguments of a pool class by position: none of them may be keyword-only.
    def __init__(  # noqa: PLR0917
        self,
        creator: Any,
        pool_size: int = 5,
        max_overflow: int = 10,
        timeout: float | None = 30.0,
        use_lifo: bool = True,
        limit: Limits | None = None,
        law: Law | None = None,
        clock: Callable[[], float] = time.perf_counter,
        **stock: Any,
    ) -> None:
        # Before anything else is named: recreate() hands on every argument, also one that is added later.
        given = locals()
        names = given.keys() - {"self", "creator", "stock", "__class__"}
        self._arguments: dict[str, Any] = {name: given[name] for name in names} | stock
        super().__init__(creator, **stock)
        self.limits = limits = limit or stock_limits(pool_size, max_overflow)
        self.is_fixed = limit is None
        # The stock arguments ask for a fixed size; `limit` for one that is found.
        name = self._orig_logging_name or "postgresql"
        self.law: Law = law or (default_law(limits, server=name, clock=clock) if limit else Fixed(limits.max))
        self.holds: dict[Entry, Hold] = {}
        # Set by whoever measures statements; until then a checkout is what the law sees.
        self.observed = False
        self.address = ""  # host:port/database, once an engine has told
        self._timeout_s = timeout
        self._use_lifo = use_lifo
        self._clock = clock
        follower = Follower(
            kept=limits.min,
            open_every_s=limits.open_every_s,
            idle_s=limits.idle_s,
            lifetime_s=limits.lifetime_s,
            unpaced=math.ceil(limits.first),
        )
        lanes = Lanes()
        self.lanes = Obeyed(lanes)
        self.gate = ConnectionGate(
            limits.max if limits.shadow else self.law.value,
            follower,
            most=limits.max,
            max_waiting=limits.max_waiting,
            is_heavy=lanes.is_heavy,
            clock=clock,
            name=name,
        )
        self.limiter = Limiter(
            self.law,
            name=name,
            max_waiting=limits.max_waiting,
            clock=clock,
            shadow=limits.shadow,
            brake=Brake(),
            gate=self.gate,
            kept=None if limits.memory is None else Kept(limits.memory, name, self.law),
        )
        if limits.pinned:
            self.limiter.pin(limits.max)
        self._idle: deque[Entry] = deque()
        self._opened = 0
        self._waits = Histogram()
        self._at_once = 0  # how many did not wait; in `_waits` once somebody asks
        self._drained: asyncio.Event | None = None
        self._generation = 0  # what was opened in an earlier one is closed when it comes back
        self._disposed = False
        self.keeper = Keeper(self)
        self.relief = Relief(self)

    # -- what Pool asks of us --

    # These two run once a call, between two round trips, with cold caches: each function less is felt.

    def _do_get(self) -> ConnectionPoolEntry:
        if listening:
            with part("fluido.sqlalchemy.checkout", flow=self.gate.name):
                return self._checked_out()
        return self._checked_out()

    def _checked_out(self) -> ConnectionPoolEntry:
        gate = self.gate
        label = current_label()
        if label:
            gate.laned = True
        asked_s = self._clock()
        if gate.try_acquire(label):
            taken_s = asked_s
            self._at_once += 1
        else:
            self._wait(label, asked_s)
            taken_s = self._clock()
            self._waits.record(taken_s - asked_s)
        try:
            idle = self._idle
            record = (idle.pop() if self._use_lifo else idle.popleft()) if idle else self._open(taken_s)
        except BaseException:
            gate.release(label)
            self._tell_drain()
            raise
        follower = gate.follower
        held = gate.inflight + gate.lent
        if held > follower.peak or taken_s > follower.window_end_s:
            follower.demand(held, taken_s)
        loop = asyncio._get_running_loop()
        if loop is not self.keeper.armed_loop:
            self.keeper.arm(loop)
        hold = record.spare_hold
        record.hold = self.holds[record] = hold
        hold.label = label
        task = None if loop is None else asyncio.current_task(loop)
        hold.task = None if task is None else weakref.ref(task)
        hold.asked_s = asked_s
        hold.taken_s = hold.idle_since_s = taken_s
        hold.inflight = gate.inflight
        hold.limit = gate.limit
        hold.database_s = 0.0
        hold.reported = False
        return record

    def _create_connection(self) -> Entry:
        return Entry(self, self.limiter, self.gate)

    def _do_return_conn(self, record: Any) -> None:
        if asyncio._get_running_loop() is None and (loop := self.keeper.loop_elsewhere()) is not None:
            # The garbage collector may return a forgotten connection from any thread; the gate has one.
            loop.call_soon_threadsafe(self._do_return_conn, record)
            return
        hold = self.holds.pop(record)
        record.hold = None
        if self.gate.laned or not self.observed:
            self._learn(hold)
        hold.task = None
        if record.generation == self._generation:
            if self._use_lifo and record.dbapi_connection is None:
                # The next caller would have to open it again: others first.
                self._idle.appendleft(record)
            else:
                self._idle.append(record)
            if hold.lent:
                hold.lent = False
                self.gate.give_back(hold.label, lent=True)
            else:
                self.gate.release(hold.label)
        else:
            self._close_returned(record, hold)

    def _close_returned(self, record: Entry, hold: Hold) -> None:
        try:
            self._forget(record).close()
        finally:
            self.gate.give_back(hold.label, lent=hold.lent)
            hold.lent = False
            self._tell_drain()

    def _tell_drain(self) -> None:
        if self._drained is not None and not self.gate.held:
            self._drained.set()

    def _learn(self, hold: Hold) -> None:
        now_s = self._clock()
        # The holder's own time is not the database's: a slow client does not make its label heavy.
        taken_s = now_s - hold.database_s if self.observed else hold.taken_s
        sample = Sample(hold.label, taken_s, now_s, hold.taken_s - hold.asked_s, hold.inflight, hold.limit)
        if self.gate.laned:
            self.lanes.observe(sample)
        if not self.observed:
            self.limiter.learn(sample)

    def recreate(self) -> "AdaptivePool":
        """Return a pool of the same kind that goes on with the same law, pin, cap and lanes."""
        self.logger.info("Pool recreating")
        if self._disposed:  # not so in a forked child, where the connections are its parent's
            self._disposed = False
            self._generation += 1
            self._close_idle()
        arguments = {name: value for name, value in self._arguments.items() if name != "events"}
        # Listeners come with the dispatch. The others may have been set since.
        now = {"limit": self.limits, "law": self.law, "echo": self.echo, "dialect": self._dialect}
        pool = self.__class__(self._creator, **arguments | now | {"_dispatch": self.dispatch})
        pool._go_on_from(self)
        return pool

    def _go_on_from(self, other: "AdaptivePool") -> None:
        """Take over what `other` was told or has learned since it was built."""
        for listeners in (self.dispatch.connect, self.dispatch.first_connect):
            # Old SQLAlchemy (2.0.10) forgets here that the lock of a first connect must not block the loop.
            if hasattr(listeners, "_set_asyncio") and not hasattr(listeners, "_is_asyncio"):
                listeners._set_asyncio()
        self.observed = other.observed
        self.address = other.address
        self.gate.laned = other.gate.laned
        self.limiter.kept = other.limiter.kept
        self.cap(other.gate.cap)
        if other.limiter.pinned is not None:
            self.pin(other.limiter.pinned)

    def dispose(self) -> None:
        """Close every idle connection; those in use too when they come back, once the pool was replaced."""
        self._disposed = True
        self.limiter.save()
        self.keeper.disarm()
        self.relief.disarm()
        self._close_idle()
        self.logger.info("Pool disposed. %s", self.status())

    async def drain(self, timeout_s: float) -> bool:
        """Refuse newcomers for good and wait until every connection came back; whether they did in time."""
        self.gate.close()
        self._generation += 1
        if self._drained is None:
            self._drained = asyncio.Event()
        if not self.gate.held:
            return True
        try:
            await asyncio.wait_for(self._drained.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def status(self) -> str:
        """Describe the pool in the stock pool's words and ours."""
        return (
            f"Pool size: {self.size()}  Connections in pool: {self.checkedin()} "
            f"Current Overflow: {self.overflow()} Current Checked out connections: {self.checkedout()} "
            f"Limit: {self.gate.limit:g} Waiting: {self.gate.waiting}"
        )

    def stats(self) -> FlowStats:
        """Everything one may want to know, at this moment; waits are those for a connection."""
        stats = self.limiter.stats()
        self._waits.add_zeros(self._at_once)
        self._at_once = 0
        return replace(
            stats,
            kind="pool",
            decisions=stats.decisions + tuple(self.lanes.log),
            reasons={**stats.reasons, **self.lanes.log.reasons},
            wait_ms_p50=self._waits.quantile(0.5) * 1e3,
            wait_ms_p99=self._waits.quantile(0.99) * 1e3,
            waits=self._waits.buckets(),
        )

    def pin(self, value: float) -> None:
        """Let `value` callers work at a time, whatever the law says, until `unpin()`. `stats()` tells it."""
        self.limiter.pin(min(max(value, 1.0), self.limits.max))

    def unpin(self) -> None:
        """Let the law decide again."""
        self.limiter.unpin()

    def cap(self, connections: float) -> None:
        """Never let more callers work than the server grants connections, whatever the law says."""
        self.gate.put_cap(connections)

    # -- the stock pool's numbers --

    def size(self) -> int:
        """How many connections are kept when nobody asks."""
        return self.limits.min

    def checkedin(self) -> int:
        """How many connections are free."""
        return len(self._idle)

    def checkedout(self) -> int:
        """How many connections are in use."""
        return self._opened - len(self._idle)

    def overflow(self) -> int:
        """How many more are open than are kept: negative while some are missing, 0 where none is kept."""
        return self._opened - self.limits.min if self.limits.min else 0

    def timeout(self) -> float | None:
        """Seconds a caller waits at most."""
        return self._timeout_s

    # -- connections --

    def _wait(self, label: str, asked_s: float) -> None:
        gate = self.gate
        self.relief.arm()
        if gate.try_acquire(label):
            return
        deadline_s = None if self._timeout_s is None else asked_s + self._timeout_s
        try:
            await_only(gate.acquire(label=label, deadline_s=deadline_s))
        except (WaitTimeout, LimitReached, Closed) as error:
            raise explained(self, error) from None

    def _open(self, now_s: float) -> Entry:
        self._opened += 1
        self.gate.opening += 1
        generation = self._generation
        try:
            record = self._create_connection()
        except BaseException as error:
            self._opened -= 1
            self._learn_refusal(now_s, error)
            raise
        finally:
            self.gate.opening -= 1
        record.generation = generation
        record.expires_s = now_s + self.gate.follower.next_lifetime_s()
        return record

    def _learn_refusal(self, asked_s: float, error: BaseException) -> None:
        outcome = outcome_of_connect(error)
        if outcome is Outcome.OVERLOAD:
            gate = self.gate
            self.limiter.learn(
                Sample("connect", asked_s, self._clock(), 0.0, gate.inflight, gate.limit, outcome)
            )

    def _close_idle(self) -> None:
        while self._idle:
            self._forget(self._idle.pop()).close()

    def _forget(self, record: Entry) -> Entry:
        self._opened -= 1
        return record

    # -- what the keeper does between the calls --

    def retire(self) -> Entry | None:
        """Take an idle connection out of the pool that is too old, or that nobody needed lately."""
        now_s = self._clock()
        retired = next((record for record in self._idle if record.expires_s < now_s), None)
        if retired is None and self._idle:
            surplus = self.gate.follower.surplus(self._opened, self.gate.held, now_s)
            retired = self._idle[0] if surplus else None
        if retired is not None:
            self._idle.remove(retired)
            self._forget(retired)
            self.gate.shrink()
        return retired

    def warm(self) -> None:
        """Open one connection if fewer are open than are to be kept; runs in a greenlet.

        Not where the stock arguments decide: they say how many are kept of those that somebody asked for.
        """
        if not self.is_fixed and self._opened < self.limits.min and self.gate.try_acquire():
            try:
                record = self._open(self._clock())
                if record.generation != self._generation:
                    self._forget(record).close()
                else:
                    self._idle.appendleft(record)
            finally:
                self.gate.release()
                self._tell_drain()
