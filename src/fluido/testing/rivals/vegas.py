"""Vegas, as Netflix's concurrency-limits publishes it: the queue that an idle server's latency implies.

queue = limit * (1 - idle / latency); below log10(limit) grow by 6 log10, below 3 log10 by log10, above 6
log10 shrink by log10. The latency of an idle server is the least seen, taken anew every 30 * limit calls; a
base that moves, or a server that is never idle, deceives it. For comparison.
"""

import math

from fluido._sample import Outcome, Sample
from fluido.laws._base import Decision

PROBE_EVERY = 30


class Vegas:
    """Decides an in-flight limit. ValueError unless 1 <= floor <= start <= ceiling."""

    name = "vegas"

    def __init__(self, *, start: float = 20, floor: float = 1, ceiling: float = 1000) -> None:
        if not (1 <= floor <= start <= ceiling < math.inf):
            raise ValueError(f"need 1 <= floor <= start <= ceiling, not {floor}, {start}, {ceiling}")
        self.floor = float(floor)
        self.ceiling = float(ceiling)
        self._decision = Decision(float(start), "start")
        self._idle_s = math.inf
        self._since_probe = 0

    @property
    def value(self) -> float:
        """The limit in force."""
        return self._decision.value

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from one call."""
        service_s = sample.service_s
        if sample.outcome is Outcome.IGNORED or not 0 < service_s < math.inf:
            return self._decision
        self._since_probe += 1
        if self._since_probe >= PROBE_EVERY * self.value:
            self._since_probe = 0
            self._idle_s = service_s
            return self._decision
        if service_s < self._idle_s:
            self._idle_s = service_s
            return self._decision
        limit = self.value
        step = max(1.0, math.log10(limit))
        queue = math.ceil(limit * (1 - self._idle_s / service_s))
        if sample.outcome is Outcome.OVERLOAD:
            limit, reason = limit - step, "overload"
        elif sample.inflight * 2 < limit:
            return self._decision
        elif queue <= step:
            limit, reason = limit + 6 * step, "no_queue"
        elif queue < 3 * step:
            limit, reason = limit + step, "small_queue"
        elif queue > 6 * step:
            limit, reason = limit - step, "long_queue"
        else:
            return self._decision
        limit = min(max(limit, self.floor), self.ceiling)
        if limit != self.value:
            self._decision = Decision(limit, reason, {"queue": float(queue), "idle_s": self._idle_s})
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        """Time alone teaches nothing."""
        return self._decision
