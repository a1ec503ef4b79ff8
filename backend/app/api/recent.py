"""Times of the last minute by route, for a person who looks now; the metrics cover the whole time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fluido import Histogram

HALF_S = 30.0


@dataclass(frozen=True, slots=True)
class RouteTimes:
    """What requests of one route took lately. Without a first byte, `first_ms_*` are 0."""

    route: str
    count: int
    failed: int
    first_ms_p50: float
    first_ms_p99: float
    total_ms_p50: float
    total_ms_p99: float


class _Half:
    """What ended in one half of the window."""

    __slots__ = ("failed", "first", "total")

    def __init__(self) -> None:
        self.first, self.total = Histogram(), Histogram()
        self.failed = 0

    def merge(self, other: "_Half") -> None:
        self.first.merge(other.first)
        self.total.merge(other.total)
        self.failed += other.failed


class RecentTimes:
    """Two halves of `half_s` each by route template; the older one is forgotten when a new one begins.

    So what is read covers between one and two halves. The templates are few, and so are the histograms.
    """

    def __init__(self, half_s: float = HALF_S, clock: Callable[[], float] = time.perf_counter) -> None:
        self._half_s = half_s
        self._clock = clock
        self._began_s = clock()
        self._now: dict[str, _Half] = {}
        self._before: dict[str, _Half] = {}

    def record(self, route: str, *, first_s: float | None, total_s: float, failed: bool) -> None:
        """Take one answered request."""
        self._turn()
        half = self._now.setdefault(route, _Half())
        half.total.record(total_s)
        half.failed += failed
        if first_s is not None:
            half.first.record(first_s)

    def read(self) -> list[RouteTimes]:
        """Every route that answered lately, the busiest first."""
        self._turn()
        found = []
        for route in self._now.keys() | self._before.keys():
            both = _Half()
            for half in (self._now.get(route), self._before.get(route)):
                if half is not None:
                    both.merge(half)
            found.append(
                RouteTimes(
                    route,
                    both.total.count,
                    both.failed,
                    *(both.first.quantile(q) * 1e3 for q in (0.5, 0.99)),
                    *(both.total.quantile(q) * 1e3 for q in (0.5, 0.99)),
                )
            )
        return sorted(found, key=lambda times: (-times.count, times.route))

    def _turn(self) -> None:
        now_s = self._clock()
        halves = int((now_s - self._began_s) / self._half_s)
        if halves > 0:
            self._before = self._now if halves == 1 else {}
            self._now = {}
            self._began_s += halves * self._half_s
