"""How many commands may be in flight on one link, decided from what the link delivers."""

import math
from collections.abc import Mapping

from fluido.laws.base import Decision
from fluido.sample import Sample

HEADROOM = 2.0  # over delivery rate x least round trip: an estimate may be low by half
GROWTH = 1.25  # over the steady load, so that a load that stays is let through in a few seconds
STEADY_S = 0.25  # time constant of the steady load; a gather of 2,000 takes 15 ms on loopback
LEAST_S = 10.0  # a least round trip is forgotten after one to two of these


class DeliveryWindow:
    """window = max(floor, 2 x rate x least round trip, 1.25 x steady in-flight), at most the ceiling.

    Little's law gives the first term: more in flight than that only queues in front of the server, where
    everybody waits behind a burst; in our own line, labels take turns. The second keeps a load that is
    steadily high, which queues nobody unfairly, unbound. A sample is the traffic of some 20 ms: `units`
    commands answered, `inflight` at its end, `service_s` the least round trip seen meanwhile.
    """

    name = "delivery window"

    def __init__(self, *, floor: int, ceiling: int) -> None:
        self._floor = float(floor)
        self._ceiling = float(ceiling)
        self._least = (math.inf, math.inf)  # in this period and in the one before
        self._period_start_s = -math.inf
        self._last_s = -math.inf
        self._rate = 0.0
        self._steady = 0.0
        self._decision = Decision(self._ceiling, "no evidence yet", {})
        self._learnt_s = 0.0

    @property
    def floor(self) -> float:
        """The window never goes below."""
        return self._floor

    @property
    def ceiling(self) -> float:
        """The window never goes above."""
        return self._ceiling

    @property
    def value(self) -> float:
        """The window in force."""
        return self._decision.value

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from the traffic that ended at `sample.finished_s`."""
        now_s = sample.finished_s
        elapsed_s = now_s - self._last_s
        self._last_s = now_s
        self._remember_round_trip(now_s, sample.service_s)
        if not 0.0 < elapsed_s < math.inf:
            return self._decision
        self._learnt_s += min(elapsed_s, STEADY_S)
        rate = sample.units / elapsed_s
        # The greatest rate of late: a link that idles has not become slower.
        self._rate = max(rate, self._rate * math.exp(-elapsed_s / LEAST_S))
        weight = -math.expm1(-elapsed_s / STEADY_S)
        self._steady += weight * (sample.inflight - self._steady)
        if self._learnt_s < 4 * STEADY_S:
            return self._decision
        least_s = min(self._least)
        pipe = HEADROOM * self._rate * least_s if least_s < math.inf else 0.0
        load = GROWTH * self._steady
        return self._decide(pipe, load, {"rate": self._rate, "least_s": least_s, "steady": self._steady})

    def tick(self, _now_s: float, /) -> Decision:
        """No traffic, no news."""
        return self._decision

    def _remember_round_trip(self, now_s: float, round_trip_s: float) -> None:
        if now_s - self._period_start_s >= LEAST_S:
            self._least = (round_trip_s, self._least[0])
            self._period_start_s = now_s
        elif round_trip_s < self._least[0]:
            self._least = (round_trip_s, self._least[1])

    def _decide(self, pipe: float, load: float, inputs: Mapping[str, float]) -> Decision:
        wanted, reason = max((self._floor, "floor"), (pipe, "delivery"), (load, "steady load"))
        if wanted >= self._ceiling:
            wanted, reason = self._ceiling, "ceiling"
        # A tenth more or less changes nothing a caller could notice.
        if abs(wanted - self.value) >= 0.1 * self.value or (wanted != self.value and reason == "floor"):
            self._decision = Decision(float(round(wanted)), reason, inputs)
        return self._decision
