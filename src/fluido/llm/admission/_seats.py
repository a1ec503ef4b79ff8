"""Who is in flight at one engine: the calls it works on, and the ghosts of those that left too early."""

import asyncio
from collections.abc import Callable, Iterator

from fluido.llm.admission._seat import Seat


class Seats:
    """Counts what is in flight and integrates it over time, so that each call knows its company.

    A ghost is a call that left during its prefill at an engine that computes on regardless: its slot stays
    taken for as long as that prefill should still take. `on_gone` is called whenever one is through.
    """

    def __init__(self, clock: Callable[[], float], on_gone: Callable[[], None]) -> None:
        self._clock = clock
        self._on_gone = on_gone
        self._taken: dict[int, Seat] = {}
        self._haunted: list[int] = []  # slots
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
        """The calls and the ghosts."""
        return len(self._taken) + len(self._haunted)

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

    def before(self, seat: Seat) -> int:
        """How many in flight came no later than `seat`, itself included."""
        return next(at for at, other in enumerate(self._taken.values(), start=1) if other is seat)

    def take(self, seat: Seat) -> None:
        """A call begins."""
        seat.area = self._pass_time(seat.started_s)
        if self._taken:
            seat.shared = True
            for other in self._taken.values():
                other.shared = True
        self._taken[id(seat)] = seat

    def leave(self, seat: Seat, now_s: float) -> float:
        """A call ends; how many were in flight on average while it ran. Once per seat."""
        area = self._pass_time(now_s) - seat.area
        del self._taken[id(seat)]
        service_s = now_s - seat.started_s
        return area / service_s if service_s > 0 else 0.0

    def haunt(self, slot: int, left_s: float) -> None:
        """A call left `slot`, which is at work for `left_s` more seconds (0 or less: it is not)."""
        if left_s > 0:
            self._pass_time(self._clock())
            self._haunted.append(slot)
            asyncio.get_running_loop().call_later(left_s, self._lay, slot)

    def _lay(self, slot: int) -> None:
        self._pass_time(self._clock())
        self._haunted.remove(slot)
        self._on_gone()

    def _pass_time(self, now_s: float) -> float:
        passed_s = now_s - self._changed_s
        self._area += self.inflight * passed_s
        if self.inflight:
            self._busy_s += passed_s
        self._changed_s = now_s
        return self._area
