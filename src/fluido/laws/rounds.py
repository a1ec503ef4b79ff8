"""One slot of time under one limit, and what two of them say about each other."""

import math

FEWEST = 10  # calls in a slot: below, it says nothing
LONG = 1.0  # of a slot: a longer call is not seen in it, it only takes room
ROOM = 0.2  # of the time in service spent in long calls, above which they bend the count of the short ones


class Slot:
    """What ended between `from_s` and `until_s`, the first moments left out, under `limit`."""

    __slots__ = (
        "calls",
        "classes",
        "from_s",
        "full",
        "inflight",
        "limit",
        "long_s",
        "longest_s",
        "other_limit",
        "short_s",
        "started",
        "until_s",
        "work",
    )

    def __init__(self, limit: int, from_s: float, until_s: float, settle_s: float) -> None:
        self.limit = limit
        self.from_s = from_s + settle_s
        self.until_s = until_s
        self.longest_s = (until_s - from_s) * LONG
        self.calls = 0
        self.work = 0.0
        self.started = 0
        self.full = 0
        self.inflight = 0
        self.other_limit = 0
        self.short_s = self.long_s = 0.0
        self.classes: dict[str, list[float]] = {}  # per label: calls, their seconds

    def ended(
        self, label: str, started_s: float, now_s: float, inflight: int, limit: float, work: float
    ) -> None:
        """A call that was admitted as number `inflight` under `limit`."""
        if now_s < self.from_s:
            return
        self.calls += 1
        self.work += work
        if started_s >= self.from_s:
            self.started += 1
            self.inflight += inflight
            self.full += inflight >= 0.8 * self.limit
            self.other_limit += abs(limit - self.limit) > 0.5
        service_s = now_s - started_s
        if service_s > self.longest_s:
            self.long_s += service_s
            return
        self.short_s += service_s
        seen = self.classes.get(label)
        if seen is None:
            seen = self.classes[label] = [0.0, 0.0]
        seen[0] += 1.0
        seen[1] += service_s

    @property
    def length_s(self) -> float:
        """Seconds that count."""
        return self.until_s - self.from_s

    @property
    def rate(self) -> float:
        """Work a second."""
        return self.work / self.length_s

    @property
    def sound(self) -> bool:
        """Enough calls, and under our limit: one that is pinned, or not yet reached, measures itself."""
        return self.calls >= FEWEST and self.started > 0 and 5 * self.other_limit <= self.started

    @property
    def binding(self) -> bool:
        """Whether the limit, and not the demand, decided how many were inside."""
        return 2 * self.full >= self.started > 0

    @property
    def mean_inflight(self) -> float:
        """As those saw it who started."""
        return self.inflight / self.started if self.started else 0.0

    @property
    def room(self) -> float:
        """The share of the time in service that was spent in calls too long to be seen in a slot."""
        total_s = self.short_s + self.long_s
        return self.long_s / total_s if total_s else 0.0


def gain(high: Slot, low: Slot, room: float) -> tuple[float, float]:
    """ln of the throughput of one slot over the other's, and its variance from counting alone.

    Long calls stay inside through both slots. The step of the limit then falls on the short ones, whose
    throughput looks as if more in flight paid; so where long calls have `room` it is taken from what the
    short ones took: N/R, class by class (Little's law), with N all calls inside.
    """
    variance = 1 / high.calls + 1 / low.calls
    if room < ROOM:
        return math.log(high.rate / low.rate), variance
    total = slower = 0.0
    for label, (calls, seconds) in high.classes.items():
        others = low.classes.get(label)
        if others and seconds > 0 and others[1] > 0:
            weight = calls * others[0] / (calls + others[0])
            total += weight
            slower += weight * math.log(seconds / calls * others[0] / others[1])
    if not total:
        return math.log(high.rate / low.rate), variance
    return math.log(high.mean_inflight / low.mean_inflight) - slower / total, 1 / total
