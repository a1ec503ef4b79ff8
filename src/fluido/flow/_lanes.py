"""Bulkhead between classes of work: a gate with two lanes, of which heavy calls may fill a part only."""

import math
import time
from collections import Counter
from collections.abc import Callable

from fluido._metrics import Meter
from fluido.flow._gate import Caller, Gate, Line

HEAVY_SHARE = 0.25
KEPT_FREE = 0.25


class LanedGate(Gate):
    """A Gate that asks `is_heavy(label)` (usually `Lanes.is_heavy`) at every arrival.

    Heavy calls hold at most a quarter of the permits, rounded up, and one of them goes first while none is
    inside: they cannot starve. They borrow more while no light call waits, as long as a quarter of all
    permits stays free. Inside its share a lane waits by time of arrival.
    """

    kind = "laned_gate"

    def __init__(
        self,
        limit: float,
        *,
        max_waiting: int,
        is_heavy: Callable[[str], bool],
        clock: Callable[[], float] = time.perf_counter,
        name: str = "",
        standing_share: float = 1.0,
        meter: Meter | None = None,
    ) -> None:
        super().__init__(
            limit,
            max_waiting=max_waiting,
            clock=clock,
            name=name,
            standing_share=standing_share,
            meter=meter,
        )
        self.heavy_inflight = 0
        self._is_heavy = is_heavy
        self._heavy_line = Line()
        # A class may change its lane while its calls are inside: what a label holds in the heavy lane.
        self._heavy_of: Counter[str] = Counter()

    def try_acquire(self, label: str = "", /) -> bool:
        """Take a permit if one is free for this label's lane and nobody of that lane waits."""
        heavy = self._is_heavy(label)
        line = self._heavy_line if heavy else self._line
        if self.inflight >= self._threshold or line.live or (heavy and not self._heavy_fits()):
            return False
        self.inflight += 1
        self.meter.admitted += 1
        if heavy:
            self._count_heavy(label)
        return True

    def release(self, label: str = "", /) -> None:
        """Give one permit back, under the label that took it. Raises RuntimeError when none is out."""
        if self.inflight > 0 and self._heavy_of[label] > 0:
            self.heavy_inflight -= 1
            self._heavy_of[label] -= 1
        if not self._heavy_of[label]:
            del self._heavy_of[label]
        super().release(label)

    def _lines(self) -> tuple[Line, ...]:
        return (self._line, self._heavy_line)

    def _line_of(self, label: str, /) -> Line:
        return self._heavy_line if self._is_heavy(label) else self._line

    def _grant(self, waiter: Caller) -> None:
        super()._grant(waiter)
        if waiter.order is self._heavy_line:
            self._count_heavy(waiter.label)

    def _count_heavy(self, label: str) -> None:
        self.heavy_inflight += 1
        self._heavy_of[label] += 1

    def _heavy_fits(self) -> bool:
        if self.heavy_inflight < max(1, math.ceil(HEAVY_SHARE * self.limit)):
            return True
        left_free = self._threshold - self.inflight - 1
        return not self._line.live and left_free >= KEPT_FREE * self.limit

    def _hand_over(self) -> None:
        while self.inflight < self._threshold:
            light = self._line.head()
            heavy = self._heavy_line.head()
            if heavy is not None and not self._heavy_fits():
                heavy = None
            if light is not None and heavy is not None:
                heavy_first = self.heavy_inflight == 0 or heavy.serial < light.serial
                waiter = heavy if heavy_first else light
            else:
                waiter_or_none = light or heavy
                if waiter_or_none is None:
                    return
                waiter = waiter_or_none
            self._grant(waiter)
