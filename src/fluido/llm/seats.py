"""Who is in flight at one engine: the calls it works on, and the ghosts of those that left too early."""

import asyncio
from collections.abc import Callable, Iterator

from fluido.llm.seat import Seat


class Seats:
    """Counts what is in flight and integrates it over time, so that each call knows its company.

    A ghost is a call that left during its prefill at an engine that computes on regardless: its place stays
    taken for as long as that prefill should take.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._taken: dict[int, Seat] = {}
        self._changed_s = clock()
        self._area = 0.0  # seconds in flight, summed over all calls so far
        self.ghosts = 0

    def __len__(self) -> int:
        """How many calls the engine works on, without the ghosts."""
        return len(self._taken)

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._taken.values())

    @property
    def inflight(self) -> int:
        """The calls and the ghosts."""
        return len(self._taken) + self.ghosts

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

    def haunt(self, left_s: float, laid: Callable[[], None]) -> None:
        """Keep a place taken for `left_s` more seconds, then say so."""
        self._pass_time(self._clock())
        self.ghosts += 1

        def lay() -> None:
            self._pass_time(self._clock())
            self.ghosts -= 1
            laid()

        asyncio.get_running_loop().call_later(left_s, lay)

    def _pass_time(self, now_s: float) -> float:
        self._area += self.inflight * (now_s - self._changed_s)
        self._changed_s = now_s
        return self._area
