"""Fair queueing in front of an engine: lanes, cost with ageing, a fair share per tenant and key. Pure data.

Inside a lane a call stands at `max(arrival, its key's turn) + ageing * cost`: a fixed number, so nothing is
ever sorted again, a cheap call overtakes a dear one by a bounded time only, and nobody starves. A key's turn
moves on by the cost of each of its calls, so a user who sends a hundred at once stands with the later ones
behind everybody else. The keys of one tenant share what is one tenant's: who invents a new key for
each call takes nothing from another (start-time fair queueing of tenants). Among lanes that have work, each
is served in proportion to its weight (stride scheduling).
"""

import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fluido.errors import FluidoError, LimitReached
from fluido.flow._waiting import Waiter
from fluido.llm._call import Lane
from fluido.llm.admission._seats import Demand, Seat

WEIGHTS: Mapping[Lane, float] = {Lane.INTERACTIVE: 16.0, Lane.NORMAL: 4.0, Lane.BACKGROUND: 1.0}
AGEING = 1.0
AGEING_BOUND_S = 10.0
MAX_KEYS = 10_000
SAMPLED = 128
LEAST_COST_S = 1e-3
# People who were here so lately may come again at any time.
PEOPLE_S = 60.0


@dataclass(eq=False, slots=True)
class Ticket:
    """One call's place in line. `had_place`: it comes from a reservation, and is not refused.

    `waiter` is whose turn it is when its turn has come.
    """

    demand: Demand
    had_place: bool = False
    waiter: "Waiter[Ticket, Seat] | None" = None
    stands: float = field(default=0.0, init=False)
    joined_s: float = field(default=0.0, init=False)
    queued: bool = field(default=False, init=False)


class _Tenant:
    """Who waits in one lane for one tenant. `start` is its tag in the virtual time, in seconds of work."""

    __slots__ = ("cost_s", "heap", "start", "waiting", "weight")

    def __init__(self, start: float) -> None:
        self.heap: list[tuple[float, int, Ticket]] = []
        self.waiting = 0
        self.cost_s = 0.0
        self.start = start
        self.weight = 1.0

    def head(self) -> tuple[float, int, Ticket]:
        """The first one; somebody must be waiting."""
        while not self.heap[0][2].queued:
            heapq.heappop(self.heap)
        return self.heap[0]

    def left(self, ticket: Ticket) -> None:
        """`ticket` waits no more; what is dead in the heap stays below what lives."""
        self.waiting -= 1
        self.cost_s -= ticket.demand.cost_s
        if len(self.heap) > 2 * self.waiting + 16:
            self.heap = [entry for entry in self.heap if entry[2].queued]
            heapq.heapify(self.heap)


class _LaneLine:
    """One lane: the tenants that wait in it, with a fair share each. One without a waiter is forgotten."""

    __slots__ = ("cost_s", "tenants", "virtual", "waiting")

    def __init__(self) -> None:
        self.tenants: dict[str, _Tenant] = {}
        self.virtual = 0.0
        self.waiting = 0
        self.cost_s = 0.0
        """What they cost together."""

    def next(self) -> Ticket | None:
        """The next one: of the tenant that has had least, the first."""
        if not self.tenants:
            return None
        tenant = min(self.tenants.values(), key=lambda each: (each.start, each.head()[:2]))
        return tenant.head()[2]

    def live(self) -> Iterator[tuple[float, int, Ticket]]:
        """Everybody, in no order."""
        for tenant in self.tenants.values():
            yield from (entry for entry in tenant.heap if entry[2].queued)

    def join(self, ticket: Ticket, serial: int) -> None:
        """Wait. A tenant that comes back does not claim what it did not use."""
        tenant = self.tenants.get(ticket.demand.tenant)
        if tenant is None:
            tenant = self.tenants[ticket.demand.tenant] = _Tenant(self.virtual)
        tenant.waiting += 1
        tenant.weight = ticket.demand.weight
        tenant.cost_s += ticket.demand.cost_s
        self.waiting += 1
        self.cost_s += ticket.demand.cost_s
        heapq.heappush(tenant.heap, (ticket.stands, serial, ticket))

    def leave(self, ticket: Ticket, *, is_served: bool) -> None:
        """Wait no more; who is served has used a share of its cost."""
        tenant = self.tenants[ticket.demand.tenant]
        if is_served:
            self.virtual = tenant.start
            tenant.start += max(ticket.demand.cost_s, LEAST_COST_S) / ticket.demand.weight
        tenant.left(ticket)
        if not tenant.waiting:
            del self.tenants[ticket.demand.tenant]
        self.waiting -= 1
        self.cost_s = self.cost_s - ticket.demand.cost_s if self.tenants else 0.0


class CallQueue:
    """Bounded. `push` refuses when it is full, unless somebody of a lower lane can be shed instead.

    `reserved` places belong to calls that are still being prepared (`Reservation`): they count as waiting.
    For a `WaitQueue` it is the order in which waiters are served; `on_join` is told of each that joined, who
    may be served at once, and `on_shed` of each that is thrown out.
    """

    def __init__(
        self,
        *,
        max_waiting: int,
        on_join: Callable[[], None] | None = None,
        on_shed: Callable[[Ticket, FluidoError], None] | None = None,
        weights: Mapping[Lane, float] | None = None,
        ageing: float = AGEING,
        ageing_bound_s: float = AGEING_BOUND_S,
    ) -> None:
        if max_waiting < 0:
            raise ValueError(f"max_waiting must not be negative, not {max_waiting}")
        self.max_waiting = max_waiting
        self._on_join, self._on_shed = on_join, on_shed
        self.reserved = 0
        self.reserved_cost_s = 0.0
        self._strides = {lane: 1.0 / weight for lane, weight in (weights or WEIGHTS).items()}
        self._ageing = ageing
        self._ageing_bound_s = ageing_bound_s
        self._lines = {lane: _LaneLine() for lane in Lane}
        self._passes = dict.fromkeys(Lane, 0.0)
        self._turns: OrderedDict[str, float] = OrderedDict()
        self._serial = itertools.count()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def cost_s(self) -> float:
        """What serving everybody who waits should take, one after the other."""
        return sum(line.cost_s for line in self._lines.values())

    def waiting(self, lane: Lane) -> int:
        """How many wait in `lane`."""
        return self._lines[lane].waiting

    def longest(self, count: int) -> list[Ticket]:
        """The `count` callers who have waited longest, the longest first."""
        live = (ticket for line in self._lines.values() for _, _, ticket in line.live())
        return heapq.nsmallest(count, live, key=lambda ticket: ticket.joined_s)

    def _order_of(self, cost_s: float, tenant: str, key: str, now_s: float) -> float:
        turn = self._turns.get(f"{tenant}\x1f{key}", now_s) if key else now_s
        return max(now_s, turn) + min(self._ageing * cost_s, self._ageing_bound_s)

    def ahead(self, demand: Demand, now_s: float) -> tuple[int, float]:
        """How many would be served before `demand` if it came now, and what they cost in seconds.

        Lanes above and reserved places count whole. In its own lane a long queue is sampled: some percent of
        error for a constant price, also when thousands are refused in a burst. Other tenants are served in
        turn with this one: as much of them comes before as of its own, by their weights.
        """
        cost_s, lane, tenant = demand.cost_s, demand.lane, demand.tenant
        stands = self._order_of(cost_s, tenant, demand.key, now_s)
        count = sum(self._lines[above].waiting for above in Lane if above < lane) + self.reserved
        before_s = sum(self._lines[above].cost_s for above in Lane if above < lane) + self.reserved_cost_s
        own = self._lines[lane].tenants.get(tenant)
        own_count, own_s = 0, 0.0
        if own is not None:
            step = max(1, len(own.heap) // SAMPLED)
            for other_order, _, other in own.heap[::step]:
                if other.queued and other_order <= stands:
                    own_count += step
                    own_s += step * other.demand.cost_s
        for name, other_tenant in self._lines[lane].tenants.items():
            if name != tenant and other_tenant.cost_s > 0:
                share_s = min(other_tenant.cost_s, (own_s + cost_s) * other_tenant.weight / demand.weight)
                before_s += share_s
                count += math.ceil(other_tenant.waiting * share_s / other_tenant.cost_s)
        return min(count + own_count, len(self) + self.reserved), before_s + own_s

    def takes(self, lane: Lane) -> bool:
        """Whether a call of `lane` would find a place, or somebody below it who gives way."""
        is_free = len(self) + self.reserved < self.max_waiting
        return is_free or any(self._lines[below].waiting for below in Lane if below > lane)

    def reserve(self, cost_s: float) -> "Reservation":
        """Hold a place for a call that is not ready to wait; the caller has asked `takes`."""
        return Reservation(self, cost_s)

    @property
    def live(self) -> int:
        """How many wait."""
        return len(self)

    def join(self, waiter: Waiter[Ticket, Seat], /) -> None:
        """Wait in line with the ticket that it wants served; who had no place has asked `takes`."""
        waiter.wanted.waiter = waiter
        self.push(waiter.wanted, waiter.joined_s)
        if self._on_join is not None:
            self._on_join()

    def leave(self, waiter: Waiter[Ticket, Seat], /) -> None:
        """Wait no more; who was granted a permit has used a share."""
        turn = waiter.turn
        is_served = turn.done() and not turn.cancelled() and turn.exception() is None
        if waiter.wanted.queued:
            self._take_out(waiter.wanted, is_served=is_served)

    def head(self, *, above: Lane | None = None) -> Waiter[Ticket, Seat] | None:
        """Whose turn it is, of the lanes `above` one."""
        while (ticket := self.peek(above=above)) is not None:
            if ticket.waiter is not None and not ticket.waiter.turn.done():
                return ticket.waiter
            self.discard(ticket)
        return None

    def everybody(self) -> list[Waiter[Ticket, Seat]]:
        """Who waits, by arrival."""
        waiters = (ticket.waiter for ticket in self.longest(len(self)))
        return [waiter for waiter in waiters if waiter is not None and not waiter.turn.done()]

    def push(self, ticket: Ticket, now_s: float) -> None:
        """Take a place.

        Full: the last of the lowest lane below is shed in favour of this one, else LimitReached. Who comes
        from a place is not refused.
        """
        if not ticket.had_place and len(self) + self.reserved >= self.max_waiting:
            victim = self._last_below(ticket.demand.lane)
            if victim is None:
                raise LimitReached("the queue is full", waiting=len(self))
            self.discard(victim)
            if self._on_shed is not None:
                self._on_shed(victim, LimitReached("shed: more urgent work came", waiting=len(self)))
        ticket.joined_s = now_s
        ticket.stands = self._order_of(ticket.demand.cost_s, ticket.demand.tenant, ticket.demand.key, now_s)
        ticket.queued = True
        if ticket.demand.key:
            name = f"{ticket.demand.tenant}\x1f{ticket.demand.key}"
            self._turns[name] = max(now_s, self._turns.get(name, now_s)) + ticket.demand.cost_s
            self._turns.move_to_end(name)
            if len(self._turns) > MAX_KEYS:
                self._turns.popitem(last=False)
        line = self._lines[ticket.demand.lane]
        if not line.tenants:
            # A lane that comes back does not claim what it did not use.
            busy = [self._passes[lane] for lane in Lane if self._lines[lane].tenants]
            self._passes[ticket.demand.lane] = max(self._passes[ticket.demand.lane], min(busy, default=0.0))
        line.join(ticket, next(self._serial))
        self._count += 1

    def peek(self, *, above: Lane | None = None) -> Ticket | None:
        """The next one to serve (of the lanes `above` one), or None when nobody waits there."""
        busy = [lane for lane in Lane if self._lines[lane].tenants and (above is None or lane < above)]
        if not busy:
            return None
        return self._lines[min(busy, key=lambda lane: (self._passes[lane], lane))].next()

    def pop(self) -> Ticket | None:
        """Take the next one out; its lane has used a share of its cost."""
        ticket = self.peek()
        if ticket is not None:
            self._take_out(ticket, is_served=True)
        return ticket

    def discard(self, ticket: Ticket) -> bool:
        """Take `ticket` out, wherever it stands: O(1) now, amortised O(log n).

        False when it was not waiting.
        """
        if not ticket.queued:
            return False
        self._take_out(ticket, is_served=False)
        return True

    def _take_out(self, ticket: Ticket, *, is_served: bool) -> None:
        demand = ticket.demand
        if is_served:
            self._passes[demand.lane] += self._strides[demand.lane] * max(demand.cost_s, LEAST_COST_S)
        ticket.queued = False
        self._lines[demand.lane].leave(ticket, is_served=is_served)
        self._count -= 1

    def drain(self) -> list[Ticket]:
        """Take everybody out, in order of service."""
        taken = []
        while (ticket := self.pop()) is not None:
            taken.append(ticket)
        return taken

    def _last_below(self, lane: Lane) -> Ticket | None:
        for candidate in reversed(Lane):
            if candidate <= lane:
                return None
            if self._lines[candidate].tenants:
                return max(self._lines[candidate].live())[2]
        return None


class Reservation:
    """A place in a queue, held for a call whose caller is still preparing it. Give it back once or often."""

    def __init__(self, queue: CallQueue, cost_s: float) -> None:
        self._queue: CallQueue | None = queue
        self._cost_s = cost_s
        queue.reserved += 1
        queue.reserved_cost_s += cost_s

    @property
    def is_held(self) -> bool:
        """Whether it was not given back yet."""
        return self._queue is not None

    def release(self) -> None:
        """Let the place go: the call waits in line now, or never will. Idempotent."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.reserved -= 1
            queue.reserved_cost_s = queue.reserved_cost_s - self._cost_s if queue.reserved else 0.0


class People:
    """Who asks in person. `keeps` permits of several are no background call's while people come."""

    __slots__ = ("_clock", "_seen_s", "keeps")

    def __init__(self, keeps: int, clock: Callable[[], float]) -> None:
        self.keeps = keeps
        self._clock = clock
        self._seen_s = -math.inf

    def saw(self, lane: Lane) -> None:
        """A call of that lane came."""
        if lane < Lane.BACKGROUND:
            self._seen_s = self._clock()

    def pass_by(self, lane: Lane) -> bool:
        """Whether a call of that lane passes those for whom no place is kept."""
        return self.keeps > 0 and lane < Lane.BACKGROUND

    def kept(self, lane: Lane, limit: int) -> int:
        """Permits that a call may not take because people were here lately: where it is one of several."""
        is_for_people = lane is Lane.BACKGROUND and self._clock() - self._seen_s < PEOPLE_S
        return min(self.keeps, limit - 1) if is_for_people else 0
