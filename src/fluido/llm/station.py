"""One engine with the queue in front of it: admission, the in-flight limit, health and figures."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fluido.errors import Closed, FluidoError, LimitReached, WaitTimeout
from fluido.flow.obeyed import Obeyed
from fluido.laws.base import Law
from fluido.llm.call import Lane
from fluido.llm.engine import Engine, EngineFacts
from fluido.llm.estimate import Estimate
from fluido.llm.health import Health
from fluido.llm.knee import Knee
from fluido.llm.prefix import Prefix
from fluido.llm.queue import CallQueue, Ticket
from fluido.llm.residency import Placement, Residency
from fluido.metrics import FlowStats, Histogram
from fluido.sample import Outcome, Sample

UNKNOWN_SLOTS = 1
SHORT_RATIO = 3.0


@dataclass(frozen=True, slots=True)
class Order:
    """What admission needs to know of a call.

    `cost_s` of engine time are expected, of which `first_token_s` until the first token.
    """

    cost_s: float
    first_token_s: float = 0.0
    prefix: Prefix = field(default_factory=Prefix)
    lane: Lane = Lane.INTERACTIVE
    key: str = ""
    label: str = ""
    deadline_s: float | None = None


@dataclass(slots=True)
class Seat:
    """A right to be in flight, in a slot.

    `outcome` and `units` are what the law is told at the end, `crowded` that the engine had no slot for it at
    once; `leaves` is what the slot holds afterwards (None: unknown).
    """

    order: Order
    place: Placement
    waited_s: float
    started_s: float
    inflight: int
    limit: float
    leaves: Prefix | None = None
    crowded: bool = False
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
        law: Callable[[EngineFacts], Law] | None = None,
        max_waiting: int = 256,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.engine = engine
        self.model = model
        self.facts: EngineFacts | None = None
        self.estimate = Estimate()
        self.queue = CallQueue(max_waiting=max_waiting)
        self.residency = Residency()
        self.health = Health(self._probe, self._changed)
        self._make_law = law or _knee
        self._obeyed = Obeyed(Knee(UNKNOWN_SLOTS))
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

    @property
    def tells_residency(self) -> bool:
        """Whether what the engine holds can be known: it has slots, told or found."""
        return self.facts is not None and self.facts.kind != "openai"

    @property
    def hides_slots(self) -> bool:
        """Whether the engine does not say how many calls it runs at once."""
        return self.facts is not None and self.facts.slots is None

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
        before, self.facts = self.facts, await self.engine.facts(self.model)
        if before is None or before.instance != self.facts.instance or before.slots != self.facts.slots:
            self.residency = Residency(self.facts.slots or UNKNOWN_SLOTS, pins=self.facts.pins_slots)
        if before is None or before.slots != self.facts.slots:
            self._obeyed = Obeyed(self._make_law(self.facts))

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
        running_s = sum(self._left_s(seat) for seat in self._seats.values())
        _, ahead_s = self.queue.ahead(ticket, self._clock())
        return (running_s + ahead_s) / self.limit

    async def admit(self, order: Order) -> Seat:
        """Wait for a seat.

        Raises LimitReached at once (queue full, or the deadline cannot be met), WaitTimeout when the deadline
        passes after all, EngineUnavailable when the engine goes down, Closed.
        """
        if self._closed:
            raise Closed("the dispatcher was closed")
        if not self.health.up:
            raise self.health.unavailable(self.name)
        came_s = self._clock()
        if not len(self.queue) and self._has_room(order.cost_s):
            return self._sit(order, came_s)
        seat: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()

        def grant() -> bool:
            if seat.done():
                return False
            seat.set_result(self._sit(order, came_s))
            return True

        def shed(error: FluidoError) -> None:
            if not seat.done():
                self._refused += 1
                seat.set_exception(error)

        ticket = Ticket(order.cost_s, grant, shed, order.lane, order.key)
        self._queue_up(ticket, order)
        self._grant()
        claimed = self.residency.claim(order.prefix)
        try:
            return await self._wait(ticket, seat, order.deadline_s, came_s)
        finally:
            self.residency.unclaim(claimed)

    def _queue_up(self, ticket: Ticket, order: Order) -> None:
        now_s = self._clock()
        wait_s = self.predicted_wait_s(ticket)
        try:
            if order.deadline_s is not None and now_s + wait_s + order.first_token_s > order.deadline_s:
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

    def _sit(self, order: Order, came_s: float) -> Seat:
        now_s = self._clock()
        seat = Seat(
            order=order,
            place=self.residency.place(order.prefix, {taken.place.slot for taken in self._seats.values()}),
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
        if seat.leaves is None:
            self.residency.lost(seat.place.slot)
        else:
            self.residency.served(seat.place.slot, seat.leaves)
        now_s = self._clock()
        if seat.outcome is Outcome.OK:
            self._completed += 1
            self._services.record(now_s - seat.started_s)
        elif seat.outcome is Outcome.OVERLOAD:
            self._overloads += 1
        self._obeyed.observe(
            Sample(
                seat.order.label,
                seat.started_s,
                now_s,
                seat.waited_s,
                seat.inflight,
                seat.limit,
                Outcome.OVERLOAD if seat.crowded else seat.outcome,
                seat.units,
            )
        )
        self._grant()

    def _grant(self) -> None:
        while (ticket := self.queue.peek()) is not None and self._has_room(ticket.cost_s):
            self.queue.pop()
            ticket.grant()

    def _has_room(self, cost_s: float) -> bool:
        """Whether one more may be in flight: under the limit, or a short one beside long ones that hold it.

        With a limit of one, a long answer would keep everybody waiting for half a minute.
        """
        if self.inflight < self.limit:
            return True
        spare = self.inflight == self.limit < len(self.residency) and self._pinned is None
        return spare and SHORT_RATIO * cost_s < min(self._left_s(seat) for seat in self._seats.values())

    def _left_s(self, seat: Seat) -> float:
        """What a running call has still to go. Who is over the estimate has some quarter of its age to go."""
        age_s = self._clock() - seat.started_s
        return max(seat.order.cost_s - age_s, age_s / 4)

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


def _knee(facts: EngineFacts) -> Law:
    return Knee(facts.slots)
