"""The cold start: doubles, or halves, once a slot, until another step is not worth it.

Doubling is worth it when throughput grows by more than 2^(1 - target), the same trade as the paired slots
strike later. Two stalls in a row end the climb, because group commit has a flat step from one to two before
it rises to twenty-four. A start that cannot climb at all may be far above the knee: then it halves, as long
as it keeps 92 % of the best throughput it has seen.
"""

import math

FELL = 0.9  # a candidate with less than this share of the throughput ends the climb at once
KEPT = 0.92


class Ramp:
    """Tell it the rate measured at `candidate`; it answers the next one, or None when `accepted` is it."""

    __slots__ = (
        "_best",
        "_ceiling",
        "_climbed",
        "_down",
        "_floor",
        "_rate",
        "_share",
        "_stalls",
        "accepted",
        "candidate",
    )

    def __init__(self, start: float, floor: float, ceiling: float, target: float) -> None:
        self.accepted = start
        self.candidate = start
        self._floor = floor
        self._ceiling = ceiling
        self._share = 1.0 - target
        self._rate = 0.0
        self._best = 0.0
        self._stalls = 0
        self._climbed = False
        self._down = False

    def measured(self, rate: float) -> float | None:
        """The throughput at `candidate`, work a second."""
        self._best = max(self._best, rate)
        if self._rate <= 0:
            self._rate = rate
            return self._next(self.accepted * 2)
        if self._down:
            if rate < KEPT * self._best:
                return None
            self.accepted = self.candidate
            return self._next(self.accepted / 2)
        if rate > 0 and math.log(rate / self._rate) >= self._share * math.log(self.candidate / self.accepted):
            self.accepted = self.candidate
            self._rate = rate
            self._stalls = 0
            self._climbed = True
            return self._next(self.accepted * 2)
        self._stalls += 1
        if self._stalls < 2 and rate >= FELL * self._rate:
            return self._next(self.candidate * 2)
        return self._turn()

    def _turn(self) -> float | None:
        if self._climbed:
            return None
        self._down = True
        return self._next(self.accepted / 2)

    def _next(self, candidate: float) -> float | None:
        candidate = min(max(candidate, self._floor), self._ceiling)
        if candidate in {self.accepted, self.candidate}:
            return None if self._down else self._turn()
        self.candidate = candidate
        return candidate
