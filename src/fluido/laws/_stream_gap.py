"""The least time between two messages of a token stream: nothing, until the event loop runs late.

Sending each token as it comes gives the smoothest text and costs a system call per token. Under lag the loop
has better things to do, and a reader does not notice 40 ms (25 updates a second).
"""

import math

from fluido._sample import Sample
from fluido.laws._base import Decision

LATE_S = 0.005
CALM_S = 0.002
GROW_AFTER_S = 1.0
SHRINK_AFTER_S = 3.0
SMALLEST_GAP_S = 0.005
LARGEST_GAP_S = 0.040
WINDOW = 20


class StreamGap:
    """Decides the gap in seconds. A sample is a callback due at `started_s` that ran at `finished_s`.

    p95 of the last 20 lags above 5 ms for 1 s doubles the gap (5 ms first, 40 ms at most); below 2 ms for 3 s
    halves it, to 0 under 5 ms. Lags between the two change nothing.
    """

    name = "stream_gap"
    floor = 0.0
    ceiling = LARGEST_GAP_S

    def __init__(self) -> None:
        self._decision = Decision(0.0, "calm")
        self._lags: list[float] = []
        self._late_since_s: float | None = None
        self._calm_since_s: float | None = None

    @property
    def value(self) -> float:
        """The gap in force, seconds."""
        return self._decision.value

    def observe(self, sample: Sample, /) -> Decision:
        """Learn one lag of the event loop."""
        lag_s = sample.service_s
        now_s = sample.finished_s
        if not (0 <= lag_s < math.inf and math.isfinite(now_s)):
            return self._decision
        self._lags.append(lag_s)
        del self._lags[:-WINDOW]
        p95 = sorted(self._lags)[math.ceil(0.95 * len(self._lags)) - 1]
        self._late_since_s = _since(self._late_since_s, now_s, p95 > LATE_S)
        self._calm_since_s = _since(self._calm_since_s, now_s, p95 < CALM_S)
        gap_s = self.value
        if self._late_since_s is not None and now_s - self._late_since_s >= GROW_AFTER_S:
            self._late_since_s = now_s
            self._change(min(LARGEST_GAP_S, max(SMALLEST_GAP_S, 2 * gap_s)), "loop_late", p95)
        elif self._calm_since_s is not None and now_s - self._calm_since_s >= SHRINK_AFTER_S:
            self._calm_since_s = now_s
            self._change(gap_s / 2 if gap_s / 2 >= SMALLEST_GAP_S else 0.0, "calm", p95)
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        """Time alone teaches nothing."""
        return self._decision

    def _change(self, gap_s: float, reason: str, p95_s: float) -> None:
        if gap_s != self.value:
            self._decision = Decision(gap_s, reason, {"lag_ms_p95": p95_s * 1e3})


def _since(since_s: float | None, now_s: float, holds: bool) -> float | None:
    if not holds:
        return None
    return now_s if since_s is None or since_s > now_s else since_s
