"""The one queue in front of an engine: lanes, cost with ageing, a fair share per key. Pure data, no asyncio.

Inside a lane a call stands at `max(arrival, its key's turn) + ageing * cost`: a fixed number, so nothing is
ever sorted again, a cheap call overtakes a dear one by a bounded time only, and nobody starves. A key's turn
moves on by the cost of each of its calls, so a user who sends a hundred at once stands with the later ones
behind everybody else. Among lanes that have work, each is served in proportion to its weight (stride
scheduling).
"""

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fluido.errors import FluidoError, LimitReached
from fluido.llm.call import Lane

WEIGHTS: Mapping[Lane, float] = {Lane.INTERACTIVE: 16.0, Lane.NORMAL: 4.0, Lane.BACKGROUND: 1.0}
AGEING = 1.0
AGEING_BOUND_S = 10.0
MAX_KEYS = 10_000
SAMPLED = 128


@dataclass(eq=False, slots=True)
class Ticket:
    """One call's place. `cost_s` is what serving it should take.

    `grant` is called when its turn has come and answers whether the caller still wants it; `shed` is called
    instead when it is thrown out.
    """

    cost_s: float
    grant: Callable[[], bool]
    shed: Callable[[FluidoError], None]
    lane: Lane = Lane.INTERACTIVE
    key: str = ""
    order: float = field(default=0.0, init=False)
    joined_s: float = field(default=0.0, init=False)
    queued: bool = field(default=False, init=False)


class CallQueue:
    """Bounded. `push` refuses when it is full, unless somebody of a lower lane can be shed instead."""

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
        self._strides = {lane: 1.0 / weight for lane, weight in (weights or WEIGHTS).items()}
        self._ageing = ageing
        self._ageing_bound_s = ageing_bound_s
        self._heaps: dict[Lane, list[tuple[float, int, Ticket]]] = {lane: [] for lane in Lane}
        self._waiting = dict.fromkeys(Lane, 0)
        self._cost_s = dict.fromkeys(Lane, 0.0)
        self._passes = dict.fromkeys(Lane, 0.0)
        self._turns: OrderedDict[str, float] = OrderedDict()
        self._serial = itertools.count()

    def __len__(self) -> int:
        return sum(self._waiting.values())

    @property
    def cost_s(self) -> float:
        """What serving everybody who waits should take, one after the other."""
        return sum(self._cost_s.values())

    def waiting(self, lane: Lane) -> int:
        """How many wait in `lane`."""
        return self._waiting[lane]

    def longest(self, count: int) -> list[Ticket]:
        """The `count` callers who have waited longest, the longest first."""
        live = (ticket for heap in self._heaps.values() for _, _, ticket in heap if ticket.queued)
        return heapq.nsmallest(count, live, key=lambda ticket: ticket.joined_s)

    def _order_of(self, cost_s: float, key: str, now_s: float) -> float:
        turn = self._turns.get(key, now_s) if key else now_s
        return max(now_s, turn) + min(self._ageing * cost_s, self._ageing_bound_s)

    def ahead(self, cost_s: float, lane: Lane, key: str, now_s: float) -> tuple[int, float]:
        """How many would be served before such a call if it came now, and what they cost in seconds.

        Lanes above count whole. In its own lane a long queue is sampled: some percent of error for a constant
        price, also when thousands are refused in a burst.
        """
        order = self._order_of(cost_s, key, now_s)
        count = sum(self._waiting[above] for above in Lane if above < lane)
        before_s = sum(self._cost_s[above] for above in Lane if above < lane)
        heap = self._heaps[lane]
        step = max(1, len(heap) // SAMPLED)
        for other_order, _, other in heap[::step]:
            if other.queued and other_order <= order:
                count += step
                before_s += step * other.cost_s
        return min(count, len(self)), before_s

    def takes(self, lane: Lane) -> bool:
        """Whether a call of `lane` would find a place, or somebody below it who gives way."""
        return len(self) < self.max_waiting or any(self._waiting[below] for below in Lane if below > lane)

    def push(self, ticket: Ticket, now_s: float) -> None:
        """Wait in line.

        Full: the last of the lowest lane below is shed in favour of this one, else LimitReached.
        """
        if len(self) >= self.max_waiting:
            victim = self._last_below(ticket.lane)
            if victim is None:
                raise LimitReached("the queue is full", waiting=len(self))
            self.discard(victim)
            victim.shed(LimitReached("shed: more urgent work came", waiting=len(self)))
        ticket.joined_s = now_s
        ticket.order = self._order_of(ticket.cost_s, ticket.key, now_s)
        ticket.queued = True
        if ticket.key:
            self._turns[ticket.key] = max(now_s, self._turns.get(ticket.key, now_s)) + ticket.cost_s
            self._turns.move_to_end(ticket.key)
            if len(self._turns) > MAX_KEYS:
                self._turns.popitem(last=False)
        if not self._waiting[ticket.lane]:
            # A lane that comes back does not claim what it did not use.
            busy = [self._passes[lane] for lane in Lane if self._waiting[lane]]
            self._passes[ticket.lane] = max(self._passes[ticket.lane], min(busy, default=0.0))
        self._waiting[ticket.lane] += 1
        self._cost_s[ticket.lane] += ticket.cost_s
        heapq.heappush(self._heaps[ticket.lane], (ticket.order, next(self._serial), ticket))

    def peek(self) -> Ticket | None:
        """The next one to serve, or None when nobody waits."""
        busy = [lane for lane in Lane if self._waiting[lane]]
        if not busy:
            return None
        heap = self._heaps[min(busy, key=lambda lane: (self._passes[lane], lane))]
        while not heap[0][2].queued:
            heapq.heappop(heap)
        return heap[0][2]

    def pop(self) -> Ticket | None:
        """Take the next one out; its lane has used a share of its cost."""
        ticket = self.peek()
        if ticket is not None:
            heapq.heappop(self._heaps[ticket.lane])
            self._passes[ticket.lane] += self._strides[ticket.lane] * max(ticket.cost_s, 1e-3)
            self._leave(ticket)
        return ticket

    def discard(self, ticket: Ticket) -> bool:
        """Take `ticket` out, wherever it stands: O(1) now, amortised O(log n).

        False when it was not waiting.
        """
        if not ticket.queued:
            return False
        self._leave(ticket)
        heap = self._heaps[ticket.lane]
        if len(heap) > 2 * self._waiting[ticket.lane] + 16:
            self._heaps[ticket.lane] = [entry for entry in heap if entry[2].queued]
            heapq.heapify(self._heaps[ticket.lane])
        return True

    def drain(self) -> list[Ticket]:
        """Take everybody out, in order of service."""
        taken = []
        while (ticket := self.pop()) is not None:
            taken.append(ticket)
        return taken

    def _leave(self, ticket: Ticket) -> None:
        ticket.queued = False
        self._waiting[ticket.lane] -= 1
        self._cost_s[ticket.lane] = (
            self._cost_s[ticket.lane] - ticket.cost_s if self._waiting[ticket.lane] else 0.0
        )

    def _last_below(self, lane: Lane) -> Ticket | None:
        for candidate in reversed(Lane):
            if candidate <= lane:
                return None
            live = [entry for entry in self._heaps[candidate] if entry[2].queued]
            if live:
                return max(live)[2]
        return None
