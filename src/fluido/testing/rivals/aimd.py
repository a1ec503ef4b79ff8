"""Additive increase, multiplicative decrease, as Netflix's concurrency-limits publishes it (AIMDLimit).

One more after each call when at least half of the limit is in flight; nine tenths after a call that failed
or took longer than `timeout_s`. With a timeout as the only signal it finds no limit: where throughput falls
with load it grows to its ceiling and stays there (measured: 3 to 13 % of the best throughput). For
comparison, and for servers that refuse what is too much.
"""

import math

from fluido._sample import Outcome, Sample
from fluido.laws._base import Decision

BACK_OFF = 0.9


class Aimd:
    """Decides an in-flight limit. ValueError unless 1 <= floor <= start <= ceiling."""

    name = "aimd"

    def __init__(
        self, *, start: float = 20, floor: float = 1, ceiling: float = 200, timeout_s: float = 5.0
    ) -> None:
        if not (1 <= floor <= start <= ceiling < math.inf) or not timeout_s > 0:
            raise ValueError(f"need 1 <= floor <= start <= ceiling, not {floor}, {start}, {ceiling}")
        self.floor = float(floor)
        self.ceiling = float(ceiling)
        self.timeout_s = timeout_s
        self._decision = Decision(float(start), "start")

    @property
    def value(self) -> float:
        """The limit in force."""
        return self._decision.value

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from one call."""
        limit = self.value
        if sample.outcome is Outcome.OVERLOAD or sample.service_s > self.timeout_s:
            limit, reason = max(self.floor, math.floor(limit * BACK_OFF)), "overload"
        elif sample.outcome is Outcome.OK and sample.inflight * 2 >= limit:
            limit, reason = min(self.ceiling, limit + 1), "room"
        else:
            return self._decision
        if limit != self.value:
            self._decision = Decision(limit, reason, {"service_s": sample.service_s})
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        """Time alone teaches nothing."""
        return self._decision
