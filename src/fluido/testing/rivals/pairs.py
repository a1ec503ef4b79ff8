"""Paired slots: two neighbouring pieces of wall-clock time, one with a little more in flight than the other.

What a slow trend does to one slot it does to its neighbour, so the difference shows what the limit did.
Which of the two comes first is drawn from a hash of the server's key, the slot's length and the pair's
number: the same on every replica, so that all of them move together and see the effect of their *common*
step on the server they share, and without a period that load could fall into step with.
"""

import math
import zlib

MASK = (1 << 64) - 1
SURPRISE, SURPRISED = 1.5, 0.3  # standard deviations of a pair, and what is left of the past then
FEWEST = 10  # calls in a slot: below, it says nothing


def mixed(number: int) -> int:
    """A number spread over 64 bits (the finaliser of splitmix64)."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


def sign(key: str, slot_s: float, index: int) -> int:
    """+1 or -1 for slot `index`; the two slots of a pair (2m, 2m+1) have opposite signs."""
    seed = zlib.crc32(f"{key}/{slot_s!r}".encode())
    first = 1 if mixed(seed ^ (index // 2) * 0x9E3779B97F4A7C15 & MASK) & 1 else -1
    return first if index % 2 == 0 else -first


class Tally:
    """What happened in one slot after its first moments, in which the in-flight still moves to its limit."""

    __slots__ = (
        "bound",
        "busy_s",
        "count",
        "end_s",
        "inflight",
        "limit",
        "spoiled",
        "start_s",
        "starts",
        "work",
    )

    def __init__(self, start_s: float, end_s: float, limit: float) -> None:
        self.start_s = start_s
        self.end_s = end_s
        self.limit = limit
        self.count = 0
        self.work = 0.0
        self.busy_s = 0.0
        self.bound = 0
        self.starts = 0
        self.inflight = 0
        self.spoiled = False

    def finished(self, work: float, started_s: float, now_s: float, inflight: int, limit: float) -> None:
        """A call ended in the window; it was admitted at `started_s` as number `inflight` under `limit`."""
        self.count += 1
        self.work += work
        self.busy_s += now_s - max(started_s, self.start_s)
        self.bound += inflight >= limit - 1
        if started_s >= self.start_s:
            self.starts += 1
            self.inflight += inflight
            # Somebody else's limit was in force (pinned, shadow, brake): this slot measures that, not ours.
            self.spoiled = self.spoiled or abs(limit - self.limit) > 1e-6

    @property
    def mean_inflight(self) -> float:
        """As the starters saw it; 0 when none started."""
        return self.inflight / self.starts if self.starts else 0.0

    @property
    def rate(self) -> float:
        """Work a second."""
        return self.work / (self.end_s - self.start_s)

    @property
    def busy(self) -> float:
        """How many of the classes that count were in flight on average.

        Long calls stay in flight through both slots of a pair, so a step of the limit is a larger step for
        the short ones, and their throughput alone would look as if more in flight paid. What still ran at the
        end of the window is missing: it had been inside for about one mean service time.
        """
        length_s = self.end_s - self.start_s
        missing = self.busy_s / self.count / length_s if self.count else 0.0
        return self.busy_s / length_s * (1 + missing)

    @property
    def call_rate(self) -> float:
        """Calls a second."""
        return self.count / (self.end_s - self.start_s)

    @property
    def binding(self) -> bool:
        """Whether the limit, and not the demand, decided how many were inside."""
        return self.count >= FEWEST and 2 * self.bound >= self.count


class Evidence:
    """Weighted regression of ln(service time) on ln(in-flight) over pairs, forgetting the old ones."""

    __slots__ = ("_surprise", "keep", "sum_nn", "sum_rn", "sum_ww", "variance")

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.sum_rn = 0.0
        self.sum_nn = 0.0
        self.sum_ww = 0.0
        self.variance = 0.01
        self._surprise = 0.0

    def add(self, d_r: float, d_n: float, weight: float) -> None:
        """One pair: differences of the logarithms of service time (Little: busy / rate) and in-flight."""
        if self.sum_nn > 0:
            residual = d_r - self.elasticity * d_n
            surprise = residual / math.sqrt(self.variance)
            if abs(surprise) > SURPRISE and surprise * self._surprise > 0:
                # Twice in a row, on the same side: the server changed, and the past speaks of another one.
                self.fade(SURPRISED)
                surprise = 0.0
            self._surprise = surprise if abs(surprise) > SURPRISE else 0.0
            self.variance += 0.1 * (min(residual * residual, 0.25) - self.variance)
        self.sum_rn = self.keep * self.sum_rn + weight * d_r * d_n
        self.sum_nn = self.keep * self.sum_nn + weight * d_n * d_n
        self.sum_ww = self.keep**2 * self.sum_ww + (weight * d_n) ** 2

    @property
    def elasticity(self) -> float:
        """dlnR/dlnN: 0 where capacity is idle, 1 on a plateau, above 1 where more in flight does less."""
        return self.sum_rn / self.sum_nn if self.sum_nn > 0 else math.nan

    @property
    def error(self) -> float:
        """Standard error of the elasticity, from the scatter of the pairs."""
        return math.sqrt(self.variance * self.sum_ww) / self.sum_nn if self.sum_nn > 0 else math.inf

    def fade(self, factor: float) -> None:
        """Believe the past less: it was measured at another limit."""
        self.sum_rn *= factor
        self.sum_nn *= factor
        self.sum_ww *= factor * factor
