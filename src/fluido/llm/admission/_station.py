"""One engine with the queue in front of it: admission, the in-flight limit, health and figures."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import replace

from fluido._metrics import FlowStats, Meter
from fluido._sample import Outcome, Sample
from fluido.errors import Closed, FluidoError, LimitReached, WaitTimeout
from fluido.flow._obeyed import Obeyed
from fluido.laws._base import Law
from fluido.laws._engine_limit import LATE, UNKNOWN_CEILING, EngineLimit
from fluido.laws._fixed import Fixed
from fluido.laws._soonest import PROMPT, TOKEN
from fluido.llm._call import Lane
from fluido.llm._engine import Engine, EngineFacts
from fluido.llm.admission._estimate import Pace
from fluido.llm.admission._queue import CallQueue, Reservation, Ticket
from fluido.llm.admission._residency import UNPLACED, Placement
from fluido.llm.admission._seats import Order, ResidencyStats, Seat
from fluido.llm.admission._upstream import UNKNOWN_SLOTS, Upstream

SHORT_RATIO = 3.0
# People who were here so lately may come again at any time.
PEOPLE_S = 60.0


def adapting(facts: EngineFacts, *, key: str, most: int = UNKNOWN_CEILING) -> EngineLimit:
    """The law that finds an engine's limit, at most `most`, beginning at what is known of it."""
    return EngineLimit(facts.slots, usual_slots=facts.usual_slots, most=most, key=key)


class Station(Upstream):
    """Admits calls to one engine.

    `law` makes what decides how many are in flight; the default is `EngineLimit`. `keeps` permits are no
    background call's while people come.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        model: str = "",
        law: Callable[[EngineFacts], Law] | None = None,
        max_waiting: int = 256,
        keeps: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(engine, model=model, clock=clock)
        self.queue = CallQueue(max_waiting=max_waiting)
        self._keeps = keeps
        self._people_s = -math.inf
        self._make_law = law or (lambda facts: adapting(facts, key=engine.name))
        self._obeyed = Obeyed(Fixed(UNKNOWN_SLOTS))
        self._adapting: EngineLimit | None = None
        self._pinned: float | None = None
        self._closed = self._paused = self._held = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._pace = Pace()
        self.meter = Meter(self.name, "llm")

    @property
    def inflight(self) -> int:
        """Calls that the engine is working on, with those that left and that it has not noticed yet."""
        return self.seats.inflight

    @property
    def limit(self) -> int:
        """How many may be, with those in the system that are in it now."""
        return self._limit(self.inflight + len(self.queue))

    @property
    def law(self) -> Law:
        """What decides the limit."""
        return self._obeyed.law

    def _limit(self, in_system: int) -> int:
        if self._pinned is not None:
            return max(1, int(self._pinned))
        if self._adapting is None:
            return max(1, int(self._obeyed.value))
        return max(1, int(self._adapting.room(self._clock(), in_system, self.seats.busy_s)))

    async def open(self) -> None:
        """Connect and ask the engine about itself; one that is away is waited for in the background."""
        self._closed = False
        await self._connect()

    async def _pause(self) -> None:
        self._paused = True
        await self._idle.wait()

    def _resume(self) -> None:
        self._paused = False
        self._grant()

    @property
    def is_held(self) -> bool:
        """Whether nobody is let in until `let_go`."""
        return self._held

    def hold(self) -> None:
        """Let nobody in: who comes waits in line. The engine is somebody else's for a while."""
        self._held = True

    def let_go(self) -> None:
        """Let in again who waits."""
        self._held = False
        self._grant()

    async def idle(self) -> None:
        """Return when nothing is in flight."""
        await self._idle.wait()

    def shed(self, error: FluidoError) -> None:
        """Tell everybody who waits that it was in vain."""
        for ticket in self.queue.drain():
            ticket.shed(error)

    async def close(self) -> None:
        """Refuse everybody and let go of the engine. Idempotent."""
        self._closed = True
        self.shed(Closed("the dispatcher was closed"))
        await self._disconnect()

    def _resized(self, facts: EngineFacts) -> None:
        law = self._make_law(facts)
        self._obeyed = Obeyed(law)
        self._adapting = law if isinstance(law, EngineLimit) else None

    def _changed(self, up: bool) -> None:
        if up:
            self._grant()
            return
        self.shed(self.health.unavailable())

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

    def predicted_wait_s(self, order: Order) -> float:
        """How long `order` would wait if it came now.

        What is left of the running calls and what stands before it, at the pace at which waits went so far.
        """
        return self._pace.factor * self._work_ahead_s(order)

    def _work_ahead_s(self, order: Order) -> float:
        if self._is_free(order):
            return 0.0
        running_s = sum(self._left_s(seat) for seat in self.seats)
        return (running_s + self.queue.ahead(order, self._clock())[1]) / self.limit

    def reserve(self, order: Order) -> Reservation:
        """Hold a place in the queue for a call that is still being prepared.

        Raises what `admit` would raise at once. Give the place back (`release`), or hand it to `admit`.
        """
        self._check_up()
        self.check(order)
        return self.queue.reserve(order.cost_s)

    async def admit(self, order: Order, *, had_place: bool = False) -> Seat:
        """Wait for a seat.

        Raises LimitReached at once (queue full, or the deadline cannot be met), WaitTimeout when the deadline
        passes after all, EngineUnavailable when it goes down, Closed. Who `had_place` is let in.
        """
        self._check_up()
        came_s = self._clock()
        if order.lane < Lane.BACKGROUND:
            self._people_s = came_s
        if not self._stand_before(order.lane) and self._has_room(order):
            return await self._settled(self._sit(order, came_s))
        seat: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()

        def grant() -> bool:
            if seat.done():
                return False
            seat.set_result(self._sit(order, came_s))
            return True

        def shed(error: FluidoError) -> None:
            if not seat.done():
                self.meter.refused += 1
                seat.set_exception(error)

        ticket = Ticket(
            order.cost_s,
            grant,
            shed,
            order.lane,
            order.key,
            order.tenant,
            order.tokens,
            order.weight,
            order.width,
        )
        ahead_s = self._queue_up(ticket, order, had_place=had_place)
        self._grant()
        index = self.residency
        claimed = index.claim(order.prefix)
        try:
            taken = await self._wait(ticket, seat, order.deadline_s, came_s)
        finally:
            index.unclaim(claimed)
        self._pace.learn(taken.waited_s, ahead_s)
        return await self._settled(taken)

    async def _settled(self, seat: Seat) -> Seat:
        try:
            await self.settle(seat)
        except BaseException:
            self.release(seat)
            raise
        return seat

    def check(self, order: Order) -> None:
        """Raise what `admit` would raise at once for `order`, and queue nothing."""
        self._check_up()
        if not self._is_free(order):
            self._check_line(order)

    def _is_free(self, order: Order) -> bool:
        """Whether a call would be served at once: nobody waits, and the reserved places leave room."""
        return not self._stand_before(order.lane) and self._has_room(order, self.queue.reserved)

    def _stand_before(self, lane: Lane) -> int:
        """How many wait whom a call may not pass: people pass those for whom no place is kept."""
        passes = self._keeps and lane < Lane.BACKGROUND
        return len(self.queue) - (self.queue.waiting(Lane.BACKGROUND) if passes else 0)

    def _check_up(self) -> None:
        if self._closed:
            raise Closed("the dispatcher was closed")
        if not self.health.up:
            raise self.health.unavailable()

    def _check_line(self, order: Order) -> None:
        """Refuse whom the queue has no place for, and who cannot be served in time: nobody for a guess."""
        if not self.queue.takes(order.lane):
            raise self._refusal("the queue is full", order)
        if order.deadline_s is None or self.estimate.is_a_guess:
            return
        if self._clock() + self.predicted_wait_s(order) + order.first_token_s > order.deadline_s:
            raise self._refusal("the first token cannot come before the deadline", order)

    def _refusal(self, reason: str, order: Order) -> LimitReached:
        self.meter.refused += 1
        wait_s = self.predicted_wait_s(order)
        position = self.queue.ahead(order, self._clock())[0]
        return LimitReached(
            f"{reason}: {position} wait before, about {wait_s:.1f} s",
            waiting=position,
            predicted_wait_s=wait_s,
            retry_after_s=wait_s,
        )

    def _queue_up(self, ticket: Ticket, order: Order, *, had_place: bool) -> float:
        """Stand in line; the seconds of work before the ticket."""
        ahead_s = self._work_ahead_s(order)
        if not had_place:
            self._check_line(order)
        self.queue.push(ticket, self._clock(), had_place=had_place)
        return ahead_s

    async def _wait(
        self, ticket: Ticket, seat: "asyncio.Future[Seat]", deadline_s: float | None, came_s: float
    ) -> Seat:
        left_s = None if deadline_s is None else max(0.0, deadline_s - self._clock())
        try:
            async with asyncio.timeout(left_s):
                return await seat
        except TimeoutError as error:
            self.meter.timed_out += 1
            self._abandon(ticket, seat)
            waited_s = self._clock() - came_s
            raise WaitTimeout(f"no seat within {waited_s:.1f} s", waited_s=waited_s) from error
        except asyncio.CancelledError:
            self.meter.cancelled += 1
            self._abandon(ticket, seat)
            raise

    def _abandon(self, ticket: Ticket, seat: "asyncio.Future[Seat]") -> None:
        """The waiter goes. A seat that was granted in the same moment goes to the next one."""
        self.queue.discard(ticket)
        if seat.done() and not seat.cancelled() and seat.exception() is None:
            self.release(seat.result())

    def _sit(self, order: Order, came_s: float) -> Seat:
        now_s = self._clock()
        limit = self._limit(self.inflight + len(self.queue) + 1)
        width = max(1, min(order.width, limit))
        seat = Seat(
            order=order,
            place=Placement(UNPLACED, 0),
            waited_s=now_s - came_s,
            started_s=now_s,
            inflight=self.inflight + width,
            limit=float(limit),
            residency=self.residency,
            width=width,
        )
        self.seats.take(seat)
        self._idle.clear()
        self.meter.admitted += 1
        self.meter.waits.record(seat.waited_s)
        return seat

    def progressed(self, seat: Seat) -> None:
        """A piece of the answer came: a token, or what the engine sends at a time."""
        now_s = self._clock()
        if not seat.pieces:
            seat.before = self.seats.before(seat)
        self._tell_piece(seat, TOKEN if seat.pieces else PROMPT, now_s, 1.0)
        seat.heard_s = now_s
        seat.pieces += 1

    def _tell_piece(self, seat: Seat, label: str, now_s: float, units: float) -> None:
        law = self._adapting
        if law is None:
            return
        since_s = seat.heard_s if seat.pieces else seat.started_s
        limit = float(self._limit(self.inflight + len(self.queue)))
        piece = Sample(label, since_s, now_s, seat.waited_s, self.inflight, limit, units=units)
        if self._obeyed.hear(law.progress, piece):
            self._grant()

    def _tell_end(self, seat: Seat, now_s: float) -> None:
        """What is known only now: tokens that came as one piece, and a wait inside the engine."""
        if seat.outcome is Outcome.OK and not seat.pieces:
            self._tell_piece(seat, PROMPT, now_s, 1.0)
        left = seat.tokens - max(1, seat.pieces)
        if seat.outcome is Outcome.OK and left > 0:
            if seat.pieces > left or not seat.pieces:
                seat.heard_s = now_s  # most were heard one by one, or all came at once: no time of their own
            seat.pieces += 1
            self._tell_piece(seat, TOKEN, now_s, float(left))
        if seat.crowded and seat.before and self._adapting is not None:
            piece = Sample(LATE, seat.started_s, now_s, seat.waited_s, seat.before, seat.limit)
            self._obeyed.hear(self._adapting.progress, piece)

    def _told(self, seat: Seat) -> Outcome:
        """A first token that is late says nothing of the limit to a law that hears the engine itself."""
        if self._adapting is None:
            return Outcome.OVERLOAD if seat.crowded else seat.outcome
        late = seat.outcome is Outcome.OVERLOAD and not seat.refused
        return Outcome.IGNORED if late else seat.outcome

    def release(self, seat: Seat) -> None:
        """Give the seat back, tell the law, and let the next ones in. Once per seat."""
        now_s = self._clock()
        self._tell_end(seat, now_s)
        mean_inflight = self.seats.leave(seat, now_s)
        self._haunt(seat)
        self._tell_idle()
        if seat.unbegun:
            seat.residency.untouched(seat.place.slot)
        elif seat.leaves is None:
            seat.residency.lost(seat.place.slot, None if seat.refused else seat.order.prefix)
        else:
            seat.residency.served(seat.place.slot, seat.leaves)
        self.company.served(seat.place.slot)
        if seat.outcome is Outcome.OK:
            self.meter.completed += 1
            self.meter.services.record(now_s - seat.started_s)
        elif seat.outcome is Outcome.OVERLOAD:
            self.meter.overloads += 1
        self._obeyed.observe(
            Sample(
                seat.order.label,
                seat.started_s,
                now_s,
                seat.waited_s,
                seat.inflight,
                seat.limit,
                self._told(seat),
                seat.units,
                mean_inflight,
            )
        )
        self._grant()

    def _haunt(self, seat: Seat) -> None:
        """Keep the place of a call that left during its prefill, where the engine computes on regardless."""
        is_through = seat.prefilled or seat.refused or seat.outcome is Outcome.OK
        if is_through or self.facts is None or self.facts.ends_prefill:
            return
        left_s = seat.order.first_token_s - (self._clock() - seat.started_s)
        self.seats.haunt(seat.place.slot, left_s)

    def _gone(self) -> None:
        self._tell_idle()
        self._grant()

    def _tell_idle(self) -> None:
        if not self.inflight:
            self._idle.set()

    def _grant(self) -> None:
        while (ticket := self._next()) is not None:
            self.queue.take(ticket)
            ticket.grant()

    def _next(self) -> Ticket | None:
        """Who is let in next, if there is room: where it is kept for people, the first of them."""
        ticket = self.queue.peek()
        if ticket is not None and not self._has_room(ticket) and self._keeps:
            ticket = self.queue.peek(above=Lane.BACKGROUND)
        return ticket if ticket is not None and self._has_room(ticket) else None

    def _has_room(self, claim: Order | Ticket, reserved: int = 0) -> bool:
        """Whether one more may be in flight: under the limit, or a short one beside long ones that hold it.

        With a limit of one, a long answer would keep everybody waiting for half a minute. Where the slots
        share one buffer, the tokens in flight have to fit it as well. A call that is wider than the limit
        takes all of it.
        """
        if self._paused or self._held:
            return False
        purse = self.purse
        # what is in flight is summed over all calls: not where it does not matter
        if not purse.is_endless and not purse.takes(
            claim.tokens, self._tokens(), beside_others=self.company.is_seen
        ):
            return False
        inside = self.inflight + reserved
        limit = self._limit(inside + max(1, len(self.queue)))
        kept = self._kept(claim.lane, limit)
        if inside + min(claim.width, limit) + kept <= limit:
            return True
        if not (inside == limit < len(self.residency) and self._pinned is None and claim.width == 1):
            return False
        left_s = min((self._left_s(seat) / seat.width for seat in self.seats), default=0.0)
        return SHORT_RATIO * claim.cost_s < left_s

    def _kept(self, lane: Lane, limit: int) -> int:
        """Permits that a call may not take because people were here lately: where it is one of several."""
        is_for_people = lane is Lane.BACKGROUND and self._clock() - self._people_s < PEOPLE_S
        return min(self._keeps, limit - 1) if is_for_people else 0

    def _left_s(self, seat: Seat) -> float:
        """Work that a running call has still to do. Who is over the estimate has some quarter of it to do."""
        done_s = (self._clock() - seat.started_s) * seat.width
        return max(seat.order.cost_s - done_s, done_s / 4)

    def residency_stats(self) -> ResidencyStats:
        """Figures of what the engine holds."""
        return ResidencyStats(
            slots=len(self.residency),
            hits=self.residency.hits,
            misses=self.residency.misses,
            loads=self.loader.loads,
            unplanned_loads=self.loader.unplanned,
            ghosts=self.seats.ghosts,
        )

    def stats(self) -> FlowStats:
        """Figures of this engine's queue and limit."""
        longest = next(iter(self.queue.longest(1)), None)
        log = self._obeyed.log
        stats = self.meter.stats(
            self._obeyed.law,
            log,
            log.reasons,
            value=self._obeyed.value if self._pinned is None else self._pinned,
            inflight=self.inflight,
            waiting=len(self.queue),
        )
        return replace(
            stats,
            wait_ms_longest=(self._clock() - longest.joined_s) * 1e3 if longest else 0.0,
            longest_label=longest.lane.name.lower() if longest else "",
            pinned=self._pinned is not None,
        )
