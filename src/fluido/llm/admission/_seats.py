"""Calls in flight at one engine: what admission knows of each, and the ghosts of those that left early."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fluido._sample import Outcome
from fluido.llm._call import Lane
from fluido.llm.admission._residency import Placement, Residency
from fluido.llm.prompt import Prefix


@dataclass(frozen=True, slots=True)
class Demand:
    """What admission needs to know of a call.

    `cost_s` of engine time are expected, of which `first_token_s` until the first token, and `tokens` of KV
    memory for prompt and answer. `weight` is the tenant's share beside other tenants, `width` how many
    answers the engine computes for it at once.
    """

    cost_s: float
    first_token_s: float = 0.0
    prefix: Prefix = field(default_factory=Prefix)
    lane: Lane = Lane.INTERACTIVE
    key: str = ""
    tenant: str = ""
    label: str = ""
    tokens: int = 0
    deadline_s: float | None = None
    weight: float = 1.0
    width: int = 1


@dataclass(slots=True)
class Seat:
    """A right to be in flight, in a slot.

    `outcome` and `units` are what the law is told at the end, `crowded` that the engine had no slot for it at
    once, `shared` that it was in flight beside others, `prefilled` that its first token came, `refused` that
    the engine itself ended it with an error, `unbegun` that it did so without having begun; `leaves` is what
    the slot holds afterwards (None: unknown);
    `area` is the engine's sum of seconds in flight when the call began, `residency` the index by which it was
    placed: the engine may come back with another. `tasks` is what the slots had served when it was sent.
    `heard_s` is when its last piece came (0: none), `pieces` how many, `tokens` how many tokens it had by the
    engine's own count, `before` how many in flight had begun no later when its first piece came. `width` is
    how many permits it holds.
    """

    demand: Demand
    place: Placement
    waited_s: float
    started_s: float
    inflight: int
    limit: float
    residency: Residency = field(default_factory=Residency)
    tasks: Mapping[int, int] = field(default_factory=dict)
    leaves: Prefix | None = None
    prefilled: bool = False
    refused: bool = False
    unbegun: bool = False
    crowded: bool = False
    shared: bool = False
    area: float = 0.0
    outcome: Outcome = Outcome.IGNORED
    units: float = 1.0
    heard_s: float = 0.0
    pieces: int = 0
    tokens: int = 0
    before: int = 0
    width: int = 1


@dataclass(frozen=True, slots=True)
class ResidencyStats:
    """How often a conversation was found where it was expected, and what the loader did."""

    slots: int
    hits: int
    misses: int
    loads: int
    unplanned_loads: int
    ghosts: int


class Seats:
    """Counts what is in flight and integrates it over time, so that each call knows its company.

    A ghost is a call that left during its prefill at an engine that computes on regardless: its slot stays
    taken for as long as that prefill should still take. `on_gone` is called whenever one is through.
    """

    def __init__(self, clock: Callable[[], float], on_gone: Callable[[], None]) -> None:
        self._clock = clock
        self._on_gone = on_gone
        self._taken: dict[int, Seat] = {}
        self._width = 0
        self._haunted: list[int] = []  # slots
        self._idle = asyncio.Event()
        self._idle.set()
        self._changed_s = clock()
        self._area = 0.0  # seconds in flight, summed over all calls so far
        self._busy_s = 0.0

    def __len__(self) -> int:
        """How many calls the engine works on, without the ghosts."""
        return len(self._taken)

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._taken.values())

    @property
    def ghosts(self) -> int:
        """How many left and are still worked on."""
        return len(self._haunted)

    @property
    def ghost_slots(self) -> list[int]:
        """Where those are; negative: the engine chose."""
        return list(self._haunted)

    @property
    def inflight(self) -> int:
        """The permits of the calls, and the ghosts."""
        return self._width + len(self._haunted)

    @property
    def slots(self) -> set[int]:
        """Where they are, as far as that is known."""
        placed = {seat.place.slot for seat in self._taken.values()} | set(self._haunted)
        return {slot for slot in placed if slot >= 0}

    @property
    def busy_s(self) -> float:
        """Seconds so far in which anything was in flight."""
        self._pass_time(self._clock())
        return self._busy_s

    @property
    def left_s(self) -> float:
        """Work that the running calls have still to do, together."""
        now_s = self._clock()
        return sum(_left_s(seat, now_s) for seat in self._taken.values())

    @property
    def least_left_s(self) -> float:
        """When the one that ends first should end, in seconds from now."""
        now_s = self._clock()
        return min((_left_s(seat, now_s) / seat.width for seat in self._taken.values()), default=0.0)

    async def idle(self) -> None:
        """Return when nothing is in flight."""
        await self._idle.wait()

    def before(self, seat: Seat) -> int:
        """How many in flight came no later than `seat`, itself included."""
        count = 0
        for other in self._taken.values():
            count += other.width
            if other is seat:
                break
        return count

    def take(self, seat: Seat) -> None:
        """A call begins."""
        seat.area = self._pass_time(seat.started_s)
        if self._taken:
            seat.shared = True
            for other in self._taken.values():
                other.shared = True
        self._taken[id(seat)] = seat
        self._width += seat.width
        self._idle.clear()

    def leave(self, seat: Seat, now_s: float, haunts_s: float = 0.0) -> float:
        """A call ends; how many were in flight on average while it ran. Once per seat.

        For `haunts_s` more seconds its slot is at work for nobody.
        """
        area = self._pass_time(now_s) - seat.area
        del self._taken[id(seat)]
        self._width -= seat.width
        self.haunt(seat.place.slot, haunts_s)
        self._tell_idle()
        service_s = now_s - seat.started_s
        return area / service_s if service_s > 0 else 0.0

    def haunt(self, slot: int, left_s: float) -> None:
        """A call left `slot`, which is at work for `left_s` more seconds (0 or less: it is not)."""
        if left_s > 0:
            self._pass_time(self._clock())
            self._haunted.append(slot)
            self._idle.clear()
            asyncio.get_running_loop().call_later(left_s, self._lay, slot)

    def _lay(self, slot: int) -> None:
        self._pass_time(self._clock())
        self._haunted.remove(slot)
        self._tell_idle()
        self._on_gone()

    def _tell_idle(self) -> None:
        if not self.inflight:
            self._idle.set()

    def _pass_time(self, now_s: float) -> float:
        passed_s = now_s - self._changed_s
        self._area += self.inflight * passed_s
        if self.inflight:
            self._busy_s += passed_s
        self._changed_s = now_s
        return self._area


def _left_s(seat: Seat, now_s: float) -> float:
    """Work that a running call has still to do. Who is over the estimate has some quarter of it to do."""
    done_s = (now_s - seat.started_s) * seat.width
    return max(seat.demand.cost_s - done_s, done_s / 4)
