"""One engine with the queue in front of it: admission, the in-flight limit, health and figures."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from fluido.errors import Closed, FluidoError, LimitReached, WaitTimeout
from fluido.flow.obeyed import Obeyed
from fluido.laws.base import Law
from fluido.laws.fixed import Fixed
from fluido.llm.call import Lane
from fluido.llm.engine import Engine, EngineFacts
from fluido.llm.estimate import Estimate
from fluido.llm.health import Health
from fluido.llm.queue import CallQueue, Ticket
from fluido.metrics import FlowStats, Histogram
from fluido.sample import Outcome, Sample

UNKNOWN_SLOTS = 1


@dataclass(slots=True)
class Seat:
    """A right to be in flight. `outcome` and `units` are what the law is told at the end."""

    label: str
    cost_s: float
    waited_s: float
    started_s: float
    inflight: int
    limit: float
    slot: int | None = None
    outcome: Outcome = Outcome.IGNORED
    units: float = 1.0


class Station:
    """Admits calls to one engine.

    `law` decides how many are in flight; without one it is the engine's slots.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        model: str = "",
        law: Law | None = None,
        max_waiting: int = 256,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.engine = engine
        self.model = model
        self.facts: EngineFacts | None = None
        self.estimate = Estimate()
        self.queue = CallQueue(max_waiting=max_waiting)
        self.health = Health(self._probe, self._changed)
        self._given_law = law
        self._obeyed = Obeyed(law or Fixed(UNKNOWN_SLOTS))
        self._pinned: float | None = None
        self._clock = clock
        self._closed = False
        self._seats: dict[int, Seat] = {}
        self._waits, self._services = Histogram(), Histogram()
        self._admitted = self._refused = self._timed_out = self._cancelled = 0
        self._completed = self._overloads = 0

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name

    @property
    def inflight(self) -> int:
        """Calls that the engine is working on."""
        return len(self._seats)

    @property
    def limit(self) -> int:
        """How many may be."""
        return max(1, int(self._obeyed.value if self._pinned is None else self._pinned))

    async def open(self) -> None:
        """Connect and ask the engine about itself; an engine that is away is waited for in the background."""
        self._closed = False
        await self.engine.open()
        try:
            await self._probe()
        except FluidoError as error:
            self.health.down(str(error))

    async def close(self) -> None:
        """Refuse everybody and let go of the engine. Idempotent."""
        self._closed = True
        await self.health.close()
        for ticket in self.queue.drain():
            ticket.shed(Closed("the dispatcher was closed"))
        await self.engine.close()

    async def _probe(self) -> None:
        self.facts = await self.engine.facts(self.model)
        if self._given_law is None:
            self._obeyed = Obeyed(Fixed(self.facts.slots or UNKNOWN_SLOTS))

    def _changed(self, up: bool) -> None:
        if up:
            self._grant()
            return
        for ticket in self.queue.drain():
            ticket.shed(self.health.unavailable(self.name))

    def pin(self, value: float) -> None:
        """Hold the limit at `value`; the law is not listened to until `unpin`."""
        if value < 1:
            raise ValueError(f"an engine needs a limit of at least 1, not {value}")
        self._pinned = value
        self._grant()

    def unpin(self) -> None:
        """Obey the law again."""
        self._pinned = None
        self._grant()

    def predicted_wait_s(self, ticket: Ticket) -> float:
        """How long `ticket` would wait if it came now.

        What is left of the running calls and what stands before.
        """
        free = self.limit - self.inflight
        if free > 0 and not len(self.queue):
            return 0.0
        now_s = self._clock()
        running_s = sum(max(0.0, seat.cost_s - (now_s - seat.started_s)) for seat in self._seats.values())
        _, ahead_s = self.queue.ahead(ticket, now_s)
        return (running_s + ahead_s) / self.limit

    async def admit(
        self,
        *,
        cost_s: float,
        lane: Lane = Lane.INTERACTIVE,
        key: str = "",
        label: str = "",
        deadline_s: float | None = None,
        first_token_s: float = 0.0,
    ) -> Seat:
        """Wait for a seat. `first_token_s`, what the engine will then need, must fit the deadline too.

        Raises LimitReached at once (queue full, or the deadline cannot be met), WaitTimeout when the deadline
        passes after all, EngineUnavailable when the engine goes down, Closed.
        """
        if self._closed:
            raise Closed("the dispatcher was closed")
        if not self.health.up:
            raise self.health.unavailable(self.name)
        came_s = self._clock()
        if self.inflight < self.limit and not len(self.queue):
            return self._sit(label, cost_s, came_s)
        seat: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()

        def grant() -> bool:
            if seat.done():
                return False
            seat.set_result(self._sit(label, cost_s, came_s))
            return True

        def shed(error: FluidoError) -> None:
            if not seat.done():
                self._refused += 1
                seat.set_exception(error)

        ticket = Ticket(cost_s, grant, shed, lane, key)
        self._queue_up(ticket, deadline_s, first_token_s)
        return await self._wait(ticket, seat, deadline_s, came_s)

    def _queue_up(self, ticket: Ticket, deadline_s: float | None, first_token_s: float) -> None:
        now_s = self._clock()
        wait_s = self.predicted_wait_s(ticket)
        try:
            if deadline_s is not None and now_s + wait_s + first_token_s > deadline_s:
                raise LimitReached("the first token cannot come before the deadline")
            self.queue.push(ticket, now_s)
        except LimitReached as error:
            self._refused += 1
            position = self.queue.ahead(ticket, now_s)[0]
            raise LimitReached(
                f"{error}: {position} wait before, about {wait_s:.1f} s",
                waiting=position,
                predicted_wait_s=wait_s,
                retry_after_s=wait_s,
            ) from None

    async def _wait(
        self, ticket: Ticket, seat: "asyncio.Future[Seat]", deadline_s: float | None, came_s: float
    ) -> Seat:
        left_s = None if deadline_s is None else max(0.0, deadline_s - self._clock())
        try:
            async with asyncio.timeout(left_s):
                return await seat
        except TimeoutError as error:
            self._timed_out += 1
            self._abandon(ticket, seat)
            waited_s = self._clock() - came_s
            raise WaitTimeout(f"no seat within {waited_s:.1f} s", waited_s=waited_s) from error
        except asyncio.CancelledError:
            self._cancelled += 1
            self._abandon(ticket, seat)
            raise

    def _abandon(self, ticket: Ticket, seat: "asyncio.Future[Seat]") -> None:
        """The waiter goes. A seat that was granted in the same moment goes to the next one."""
        self.queue.discard(ticket)
        if seat.done() and not seat.cancelled() and seat.exception() is None:
            self.release(seat.result())

    def _sit(self, label: str, cost_s: float, came_s: float) -> Seat:
        now_s = self._clock()
        seat = Seat(
            label=label,
            cost_s=cost_s,
            waited_s=now_s - came_s,
            started_s=now_s,
            inflight=self.inflight + 1,
            limit=float(self.limit),
        )
        self._seats[id(seat)] = seat
        self._admitted += 1
        self._waits.record(seat.waited_s)
        return seat

    def release(self, seat: Seat) -> None:
        """Give the seat back, tell the law, and let the next ones in. Once per seat."""
        del self._seats[id(seat)]
        now_s = self._clock()
        if seat.outcome is Outcome.OK:
            self._completed += 1
            self._services.record(now_s - seat.started_s)
        elif seat.outcome is Outcome.OVERLOAD:
            self._overloads += 1
        self._obeyed.observe(
            Sample(
                seat.label,
                seat.started_s,
                now_s,
                seat.waited_s,
                seat.inflight,
                seat.limit,
                seat.outcome,
                seat.units,
            )
        )
        self._grant()

    def _grant(self) -> None:
        while self.inflight < self.limit and (ticket := self.queue.pop()) is not None:
            ticket.grant()

    def stats(self) -> FlowStats:
        """Figures of this engine's queue and limit."""
        return FlowStats(
            name=self.name,
            kind="llm",
            law=self._obeyed.law.name,
            value=float(self.limit),
            floor=self._obeyed.law.floor,
            ceiling=self._obeyed.law.ceiling,
            inflight=self.inflight,
            waiting=len(self.queue),
            admitted=self._admitted,
            refused=self._refused,
            timed_out=self._timed_out,
            cancelled=self._cancelled,
            completed=self._completed,
            overloads=self._overloads,
            wait_ms_p50=self._waits.quantile(0.5) * 1e3,
            wait_ms_p99=self._waits.quantile(0.99) * 1e3,
            service_ms_p50=self._services.quantile(0.5) * 1e3,
            service_ms_p99=self._services.quantile(0.99) * 1e3,
            pinned=self._pinned is not None,
            decisions=tuple(self._obeyed.log),
            reasons=self._obeyed.log.reasons,
        )
