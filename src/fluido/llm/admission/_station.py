"""Admission control of one engine: who may enter, when, and who is refused.

What is known of the engine stands in `Upstream`, what its slots hold in `Slots`, how many may be in flight
in `Limit`, and who is next in `CallQueue`.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from fluido._metrics import FlowStats, Meter
from fluido._sample import Outcome
from fluido.errors import Closed, FluidoError, LimitReached
from fluido.flow._waiting import Waiter, WaitQueue
from fluido.laws._base import Law
from fluido.llm._call import Kind, Lane, Timings
from fluido.llm._engine import Engine, EngineFacts
from fluido.llm.admission._estimate import WaitBias
from fluido.llm.admission._limit import Limit, adapting
from fluido.llm.admission._queue import CallQueue, People, Reservation, Ticket
from fluido.llm.admission._residency import UNPLACED, Placement
from fluido.llm.admission._seats import Demand, Seat
from fluido.llm.admission._upstream import Upstream

SHORT_RATIO = 3.0
# An engine had no slot for a call at once when it waited there for longer than its rounding, and its work.
CROWDED_S, CROWDED_SHARE = 0.05, 0.05
# The slot that we named was at work for somebody else when a call waited in the engine for so long.
SUSPECT_S = 0.25


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
        self.queue = CallQueue(max_waiting=max_waiting, on_join=self._grant, on_shed=self._throw_out)
        self._people = People(keeps, clock)
        self.meter = Meter(self.name, "llm")
        make = law or (lambda facts: adapting(facts, key=engine.name))
        self._limit = Limit(make, self.seats, self.meter, clock)
        self._waiters: WaitQueue[Ticket, Seat] = WaitQueue(
            f"a place at {self.name}",
            self.meter,
            clock,
            give_back=lambda waiter: self.release(waiter.turn.result()),
            hand_over=self._grant,
        )
        self._closed = self._paused = False
        self.is_held = False
        """Whether nobody is let in until `let_go`."""
        self._bias = WaitBias()

    @property
    def inflight(self) -> int:
        """Calls that the engine is working on, with those that left and that it has not noticed yet."""
        return self.seats.inflight

    @property
    def limit(self) -> int:
        """How many may be, with those in the system that are in it now."""
        return self._limit.of(self.inflight + len(self.queue))

    @property
    def law(self) -> Law:
        """What decides the limit."""
        return self._limit.law

    async def open(self) -> None:
        """Connect and ask the engine about itself; one that is away is waited for in the background."""
        self._closed = False
        await self._connect()

    async def _pause(self) -> None:
        self._paused = True
        await self.seats.idle()

    def _resume(self) -> None:
        self._paused = False
        self._grant()

    def hold(self) -> None:
        """Let nobody in: who comes waits in line. The engine is somebody else's for a while."""
        self.is_held = True

    def let_go(self) -> None:
        """Let in again who waits."""
        self.is_held = False
        self._grant()

    async def idle(self) -> None:
        """Return when nothing is in flight."""
        await self.seats.idle()

    def shed(self, error: FluidoError) -> None:
        """Tell everybody who waits that it was in vain."""
        for ticket in self.queue.drain():
            self._throw_out(ticket, error)

    def _throw_out(self, ticket: Ticket, error: FluidoError) -> None:
        waiter = ticket.waiter
        if waiter is not None and not waiter.turn.done():
            self.meter.refused += 1
            self._waiters.refuse(waiter, error)

    async def close(self) -> None:
        """Refuse everybody and let go of the engine. Idempotent."""
        self._closed = True
        self.shed(Closed("the dispatcher was closed"))
        await self._disconnect()

    def _resized(self, facts: EngineFacts) -> None:
        self._limit.anew(facts)

    def _changed(self, up: bool) -> None:
        if up:
            self._grant()
            return
        self.shed(self.health.unavailable())

    def pin(self, value: float) -> None:
        """Hold the limit at `value`; the law is not listened to until `unpin`."""
        self._limit.pin(value)
        self._grant()

    def unpin(self) -> None:
        """Obey the law again."""
        self._limit.unpin()
        self._grant()

    def predicted_wait_s(self, demand: Demand) -> float:
        """How long `demand` would wait if it came now.

        What is left of the running calls and what stands before it, at the pace at which waits went so far.
        """
        return self._bias.factor * self._work_ahead_s(demand)

    def _work_ahead_s(self, demand: Demand) -> float:
        if self._is_free(demand):
            return 0.0
        return (self.seats.left_s + self.queue.ahead(demand, self._clock())[1]) / self.limit

    def reserve(self, demand: Demand) -> Reservation:
        """Hold a place in the queue for a call that is still being prepared.

        Raises what `admit` would raise at once. Give the place back (`release`), or hand it to `admit`.
        """
        self._check_up()
        self.check(demand)
        return self.queue.reserve(demand.cost_s)

    async def admit(self, demand: Demand, *, had_place: bool = False) -> Seat:
        """Wait for a seat.

        Raises LimitReached at once (queue full, or the deadline cannot be met), WaitTimeout when the deadline
        passes after all, EngineUnavailable when it goes down, Closed. Who `had_place` is let in.
        """
        self._check_up()
        came_s = self._clock()
        self._people.saw(demand.lane)
        if not self._stand_before(demand.lane) and self._has_room(demand):
            return await self._settled(self._sit(demand, came_s))
        ahead_s = self._work_ahead_s(demand)
        if not had_place:
            self._check_line(demand)
        index = self.residency
        claimed = index.claim(demand.prefix)
        try:
            ticket = Ticket(demand, had_place)
            taken = await self._waiters.wait(self.queue, ticket, deadline_s=demand.deadline_s)
        finally:
            index.unclaim(claimed)
        self._bias.learn(taken.waited_s, ahead_s)
        return await self._settled(taken)

    async def _settled(self, seat: Seat) -> Seat:
        try:
            await self.slots.settle(seat)
        except BaseException:
            self.release(seat)
            raise
        return seat

    def check(self, demand: Demand) -> None:
        """Raise what `admit` would raise at once for `demand`, and queue nothing."""
        self._check_up()
        if not self._is_free(demand):
            self._check_line(demand)

    def _is_free(self, demand: Demand) -> bool:
        """Whether a call would be served at once: nobody waits, and the reserved places leave room."""
        return not self._stand_before(demand.lane) and self._has_room(demand, self.queue.reserved)

    def _stand_before(self, lane: Lane) -> int:
        """How many wait whom a call may not pass: people pass those for whom no place is kept."""
        return len(self.queue) - (self.queue.waiting(Lane.BACKGROUND) if self._people.pass_by(lane) else 0)

    def _check_up(self) -> None:
        if self._closed:
            raise Closed("the dispatcher was closed")
        if not self.health.up:
            raise self.health.unavailable()

    def _check_line(self, demand: Demand) -> None:
        """Refuse whom the queue has no place for, and who cannot be served in time: nobody for a guess."""
        if not self.queue.takes(demand.lane):
            raise self._refusal("the queue is full", demand)
        if demand.deadline_s is None or self.estimate.is_a_guess:
            return
        if self._clock() + self.predicted_wait_s(demand) + demand.first_token_s > demand.deadline_s:
            raise self._refusal("the first token cannot come before the deadline", demand)

    def _refusal(self, reason: str, demand: Demand) -> LimitReached:
        self.meter.refused += 1
        wait_s = self.predicted_wait_s(demand)
        position = self.queue.ahead(demand, self._clock())[0]
        return LimitReached(
            f"{reason}: {position} wait before, about {wait_s:.1f} s",
            waiting=position,
            predicted_wait_s=wait_s,
            retry_after_s=wait_s,
        )

    def _sit(self, demand: Demand, came_s: float) -> Seat:
        now_s = self._clock()
        limit = self._limit.of(self.inflight + max(1, len(self.queue)))
        width = max(1, min(demand.width, limit))
        seat = Seat(
            demand=demand,
            place=Placement(UNPLACED, 0),
            waited_s=now_s - came_s,
            started_s=now_s,
            inflight=self.inflight + width,
            limit=float(limit),
            residency=self.residency,
            width=width,
        )
        self.seats.take(seat)
        self.meter.admitted += 1
        self.meter.waits.record(seat.waited_s)
        return seat

    def progressed(self, seat: Seat) -> None:
        """A piece of the answer came: a token, or what the engine sends at a time."""
        if self._limit.progressed(seat, len(self.queue)):
            self._grant()

    def answered(self, seat: Seat, timings: Timings) -> None:
        """The call of `seat` came to its end: what the law is told when the seat is given back."""
        seat.outcome = Outcome.OK
        seat.units, seat.tokens = self.estimate.work(timings), timings.output_tokens
        hidden = self.facts is not None and self.facts.slots is None
        seat.crowded = hidden and timings.queue_s > CROWDED_S + CROWDED_SHARE * timings.total_s

    def learn(self, seat: Seat, timings: Timings, kind: Kind) -> None:
        """What an answer told of the engine: its pace, and what its slots held."""
        cached = timings.cached_tokens
        if cached is None:
            computed = timings.prefill_s * self.estimate.prefill_per_s
            cached = max(0, timings.prompt_tokens - int(computed))
        expected = timings.prompt_tokens - seat.place.cached_tokens
        self.estimate.learn(timings, kind, expected, was_alone=not seat.shared)
        seat.residency.learn(seat.place, cached)
        if seat.place.slot >= 0 and timings.queue_s > SUSPECT_S:
            self.slots.company.suspect()

    def release(self, seat: Seat) -> None:
        """Give the seat back, tell the law, and let the next ones in. Once per seat."""
        now_s = self._clock()
        self._limit.ending(seat, now_s, len(self.queue))
        mean_inflight = self.seats.leave(seat, now_s, self._haunts_s(seat, now_s))
        self.slots.left(seat)
        self._limit.ended(seat, now_s, mean_inflight)
        self._grant()

    def _grant(self) -> None:
        while (waiter := self._next()) is not None:
            self._waiters.grant(waiter, self._sit(waiter.wanted.demand, waiter.joined_s))

    def _next(self) -> Waiter[Ticket, Seat] | None:
        """Who is let in next, if there is room: where it is kept for people, the first of them."""
        waiter = self.queue.head()
        if waiter is not None and self._people.keeps and not self._has_room(waiter.wanted.demand):
            waiter = self.queue.head(above=Lane.BACKGROUND)
        return waiter if waiter is not None and self._has_room(waiter.wanted.demand) else None

    def _has_room(self, demand: Demand, reserved: int = 0) -> bool:
        """Whether one more may be in flight: under the limit, or a short one beside long ones that hold it.

        With a limit of one, a long answer would keep everybody waiting for half a minute. Where the slots
        share one buffer, the tokens in flight have to fit it as well. A call that is wider than the limit
        takes all of it.
        """
        if self._paused or self.is_held or not self.slots.takes(demand.tokens):
            return False
        inside = self.inflight + reserved
        limit = self._limit.of(inside + max(1, len(self.queue)))
        if inside + min(demand.width, limit) + self._people.kept(demand.lane, limit) <= limit:
            return True
        if inside != limit or limit >= len(self.residency) or self._limit.is_pinned or demand.width > 1:
            return False
        return SHORT_RATIO * demand.cost_s < self.seats.least_left_s

    def stats(self) -> FlowStats:
        """Figures of this engine's queue and limit."""
        longest = next(iter(self.queue.longest(1)), None)
        return replace(
            self._limit.stats(len(self.queue)),
            wait_ms_longest=(self._clock() - longest.joined_s) * 1e3 if longest else 0.0,
            longest_label=longest.demand.lane.name.lower() if longest else "",
        )
