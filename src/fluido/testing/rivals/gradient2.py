"""Gradient2, as Netflix's concurrency-limits publishes it: long-term over short-term latency.

limit' = limit * clip(tolerance * long / short, 0.5, 1) + queue, smoothed. Growth only while at least half
of the limit is in flight. The long-term mean follows the limit's own effect, so it drifts with a queue that
stays. For comparison.
"""

import math

from fluido._measure import Ewma, clip
from fluido._sample import Outcome, Sample
from fluido.laws._base import Decision

LONG_WINDOW = 600
TOLERANCE = 1.5
SMOOTHING = 0.2
QUEUE = 4.0
FASTER = 0.95  # of the long-term mean when the short one is less than half of it
WINDOW_S = 1.0


class Gradient2:
    """Decides an in-flight limit once a second. ValueError unless 1 <= floor <= start <= ceiling."""

    name = "gradient2"

    def __init__(self, *, start: float = 20, floor: float = 1, ceiling: float = 200) -> None:
        if not (1 <= floor <= start <= ceiling < math.inf):
            raise ValueError(f"need 1 <= floor <= start <= ceiling, not {floor}, {start}, {ceiling}")
        self.floor = float(floor)
        self.ceiling = float(ceiling)
        self._decision = Decision(float(start), "start")
        self._long = Ewma(2 / (LONG_WINDOW + 1))
        self._window_end_s = -math.inf
        self._sum_s = 0.0
        self._count = 0
        self._inflight = 0

    @property
    def value(self) -> float:
        """The limit in force."""
        return self._decision.value

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from one call; a window of a second makes one update."""
        service_s, now_s = sample.service_s, sample.finished_s
        if sample.outcome is Outcome.IGNORED or not (0 <= service_s < math.inf and math.isfinite(now_s)):
            return self._decision
        self._sum_s += service_s
        self._count += 1
        self._inflight = max(self._inflight, sample.inflight)
        if now_s >= self._window_end_s or now_s < self._window_end_s - 2 * WINDOW_S:
            self._update(self._sum_s / self._count)
            self._window_end_s = now_s + WINDOW_S
            self._sum_s, self._count, self._inflight = 0.0, 0, 0
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        """Time alone teaches nothing."""
        return self._decision

    def _update(self, short_s: float) -> None:
        long_s = self._long.add(short_s)
        if short_s <= 0 or self._inflight < self.value / 2:
            return
        if long_s / short_s > 2:
            self._long.value *= FASTER
        gradient = clip(TOLERANCE * long_s / short_s, 0.5, 1.0)
        wanted = self.value * gradient + QUEUE
        limit = clip(self.value * (1 - SMOOTHING) + wanted * SMOOTHING, self.floor, self.ceiling)
        if limit != self.value:
            reason = "slower" if limit < self.value else "as_fast"
            self._decision = Decision(limit, reason, {"short_s": short_s, "long_s": long_s})
