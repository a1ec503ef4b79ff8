"""The one queue in front of an engine: lanes, cost with ageing, a fair share per tenant and key. Pure data.

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
from fluido.llm._call import Lane
from fluido.llm.admission._seats import Order

WEIGHTS: Mapping[Lane, float] = {Lane.INTERACTIVE: 16.0, Lane.NORMAL: 4.0, Lane.BACKGROUND: 1.0}
AGEING = 1.0
AGEING_BOUND_S = 10.0
MAX_KEYS = 10_000
SAMPLED = 128
LEAST_COST_S = 1e-3


@dataclass(eq=False, slots=True)
class Ticket:
    """One call's place. `cost_s` is what serving it should take, `weight` its tenant's share beside others,
    `width` how many permits it takes.

    `grant` is called when its turn has come and answers whether the caller still wants it; `shed` is called
    instead when it is thrown out.
    """

    cost_s: float
    grant: Callable[[], bool]
    shed: Callable[[FluidoError], None]
    lane: Lane = Lane.INTERACTIVE
    key: str = ""
    tenant: str = ""
    tokens: int = 0
    weight: float = 1.0
    width: int = 1
    order: float = field(default=0.0, init=False)
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
        self.cost_s -= ticket.cost_s
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
        tenant = self.tenants.get(ticket.tenant)
        if tenant is None:
            tenant = self.tenants[ticket.tenant] = _Tenant(self.virtual)
        tenant.waiting += 1
        tenant.weight = ticket.weight
        tenant.cost_s += ticket.cost_s
        self.waiting += 1
        self.cost_s += ticket.cost_s
        heapq.heappush(tenant.heap, (ticket.order, serial, ticket))

    def leave(self, ticket: Ticket, *, is_served: bool) -> None:
        """Wait no more; who is served has used a share of its cost."""
        tenant = self.tenants[ticket.tenant]
        if is_served:
            self.virtual = tenant.start
            tenant.start += max(ticket.cost_s, LEAST_COST_S) / ticket.weight
        tenant.left(ticket)
        if not tenant.waiting:
            del self.tenants[ticket.tenant]
        self.waiting -= 1
        self.cost_s = self.cost_s - ticket.cost_s if self.tenants else 0.0


class CallQueue:
    """Bounded. `push` refuses when it is full, unless somebody of a lower lane can be shed instead.

    `reserved` places belong to calls that are still being prepared (`Reservation`): they count as waiting.
    """

    def __init__(
        self,
        *,
        max_waiting: int,
        weights: Mapping[Lane, float] | None = None,
        ageing: float = AGEING,
        ageing_bound_s: float = AGEING_BOUND_S,
    ) -> None:
        if max_waiting < 0:
            raise ValueError(f"max_waiting must not be negative, not {max_waiting}")
        self.max_waiting = max_waiting
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

    def ahead(self, order: Order, now_s: float) -> tuple[int, float]:
        """How many would be served before `order` if it came now, and what they cost in seconds.

        Lanes above and reserved places count whole. In its own lane a long queue is sampled: some percent of
        error for a constant price, also when thousands are refused in a burst. Other tenants are served in
        turn with this one: as much of them comes before as of its own, by their weights.
        """
        cost_s, lane, tenant = order.cost_s, order.lane, order.tenant
        stands = self._order_of(cost_s, tenant, order.key, now_s)
        count = sum(self._lines[above].waiting for above in Lane if above < lane) + self.reserved
        before_s = sum(self._lines[above].cost_s for above in Lane if above < lane) + self.reserved_cost_s
        own = self._lines[lane].tenants.get(tenant)
        own_count, own_s = 0, 0.0
        if own is not None:
            step = max(1, len(own.heap) // SAMPLED)
            for other_order, _, other in own.heap[::step]:
                if other.queued and other_order <= stands:
                    own_count += step
                    own_s += step * other.cost_s
        for name, other_tenant in self._lines[lane].tenants.items():
            if name != tenant and other_tenant.cost_s > 0:
                share_s = min(other_tenant.cost_s, (own_s + cost_s) * other_tenant.weight / order.weight)
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

    def push(self, ticket: Ticket, now_s: float, *, had_place: bool = False) -> None:
        """Wait in line.

        Full: the last of the lowest lane below is shed in favour of this one, else LimitReached. Who comes
        from a place (`had_place`) is not refused.
        """
        if not had_place and len(self) + self.reserved >= self.max_waiting:
            victim = self._last_below(ticket.lane)
            if victim is None:
                raise LimitReached("the queue is full", waiting=len(self))
            self.discard(victim)
            victim.shed(LimitReached("shed: more urgent work came", waiting=len(self)))
        ticket.joined_s = now_s
        ticket.order = self._order_of(ticket.cost_s, ticket.tenant, ticket.key, now_s)
        ticket.queued = True
        if ticket.key:
            name = f"{ticket.tenant}\x1f{ticket.key}"
            self._turns[name] = max(now_s, self._turns.get(name, now_s)) + ticket.cost_s
            self._turns.move_to_end(name)
            if len(self._turns) > MAX_KEYS:
                self._turns.popitem(last=False)
        line = self._lines[ticket.lane]
        if not line.tenants:
            # A lane that comes back does not claim what it did not use.
            busy = [self._passes[lane] for lane in Lane if self._lines[lane].tenants]
            self._passes[ticket.lane] = max(self._passes[ticket.lane], min(busy, default=0.0))
        line.join(ticket, next(self._serial))
        self._count += 1

    def peek(self, *, above: Lane | None = None) -> Ticket | None:
        """The next one to serve (of the lanes `above` one), or None when nobody waits there."""
        busy = [lane for lane in Lane if self._lines[lane].tenants and (above is None or lane < above)]
        if not busy:
            return None
        return self._lines[min(busy, key=lambda lane: (self._passes[lane], lane))].next()

    def pop(self) -> Ticket | None:
        """Take the next one out."""
        ticket = self.peek()
        if ticket is not None:
            self.take(ticket)
        return ticket

    def take(self, ticket: Ticket) -> None:
        """Take one out that `peek` gave; its lane has used a share of its cost."""
        self._passes[ticket.lane] += self._strides[ticket.lane] * max(ticket.cost_s, LEAST_COST_S)
        self._leave(ticket, is_served=True)

    def discard(self, ticket: Ticket) -> bool:
        """Take `ticket` out, wherever it stands: O(1) now, amortised O(log n).

        False when it was not waiting.
        """
        if not ticket.queued:
            return False
        self._leave(ticket, is_served=False)
        return True

    def _leave(self, ticket: Ticket, *, is_served: bool) -> None:
        ticket.queued = False
        self._lines[ticket.lane].leave(ticket, is_served=is_served)
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
