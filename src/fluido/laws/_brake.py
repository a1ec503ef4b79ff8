"""The second register: a factor on a learned limit while a resource fails; the limit is not unlearned.

Controllers that cut their limit during a stall of 10 s came back after 9.5 s, those that kept it after
0.5 s (measured; BBR saves and restores its rate for the same reason). So the limit L is kept frozen and the
effective limit is beta * L: beta halves after a round in which half of the calls failed, and doubles after
a healthy one.
"""

import math

from fluido._measure import Ewma
from fluido._sample import Outcome, Sample
from fluido.laws._base import Decision

FAILED_SHARE = 0.5
LONGEST_ROUND_S = 5.0


class Brake:
    """Decides beta in (0, 1]. A round lasts `round_s`, or the mean service time where that is longer.

    `observe` needs the learned limit in `sample.limit` only to know the smallest useful beta (one in flight).
    """

    __slots__ = ("_decision", "_failed", "_limit", "_round_end_s", "_seen", "_service", "round_s")
    name = "brake"
    ceiling = 1.0

    def __init__(self, *, round_s: float = 0.1) -> None:
        if not (math.isfinite(round_s) and round_s > 0):
            raise ValueError(f"round_s must be finite and above zero, not {round_s}")
        self.round_s = round_s
        self._service = Ewma(0.05)
        self._decision = Decision(1.0, "healthy")
        self._round_end_s = -math.inf
        self._seen = 0
        self._failed = 0
        self._limit = 1.0

    @property
    def value(self) -> float:
        """Beta, the factor in force."""
        return self._decision.value

    @property
    def floor(self) -> float:
        """One call in flight, as a share of the limit last seen."""
        return min(1.0, 1.0 / self._limit)

    def observe(self, sample: Sample, /) -> Decision:
        """Count one call; at the end of its round beta may change."""
        if sample.outcome is Outcome.IGNORED:
            return self.tick(sample.finished_s)
        if sample.limit >= 1 and math.isfinite(sample.limit):
            self._limit = max(1.0, sample.limit / self.value)
        self._seen += 1
        if sample.outcome is Outcome.OVERLOAD:
            self._failed += 1
        elif 0 <= sample.service_s <= LONGEST_ROUND_S:
            self._service.add(sample.service_s)
        return self.tick(sample.finished_s)

    def tick(self, now_s: float, /) -> Decision:
        """Close the round when its time has come; a clock that jumps starts a new one and decides nothing."""
        if not math.isfinite(now_s):
            return self._decision
        length_s = max(self.round_s, self._service.value)
        if now_s < self._round_end_s - 2 * length_s:
            self._open_round(now_s + length_s)
        elif now_s >= self._round_end_s:
            if self._seen:
                self._judge()
            self._open_round(now_s + length_s)
        return self._decision

    def _open_round(self, end_s: float) -> None:
        self._round_end_s = end_s
        self._seen = 0
        self._failed = 0

    def _judge(self) -> None:
        beta = self.value
        share = self._failed / self._seen
        inputs = {"failed": float(self._failed), "seen": float(self._seen), "limit": self._limit}
        if share >= FAILED_SHARE:
            beta = max(self.floor, beta / 2)
            reason = "failing"
        elif beta < 1.0:
            beta = min(1.0, 2 * beta)
            reason = "recovering" if beta < 1.0 else "healthy"
        else:
            return
        if beta != self.value:
            self._decision = Decision(beta, reason, inputs)
