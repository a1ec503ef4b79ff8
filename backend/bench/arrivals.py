"""When requests come over a stretch of a real trace, and seeds; without clock or I/O."""

import random
from dataclasses import dataclass

from bench.traces import Trace


@dataclass(frozen=True, slots=True)
class TraceTimed:
    """The gaps of a stretch of a real trace, squeezed to a mean rate.

    The stretch is chosen by the seed and its own mean gap becomes 1/rate, so bursts stay and every stretch
    offers the same load. Squeezing keeps ratios between gaps, not absolute times.
    """

    trace: Trace
    rate_per_s: float

    def offsets_s(self, count: int, *, seed: int) -> tuple[float, ...]:
        """`ValueError` when the trace is shorter than `count` + 1 requests."""
        room = len(self.trace) - count - 1
        if room < 0:
            raise ValueError(f"trace {self.trace.name} has {len(self.trace)} requests, {count + 1} needed")
        start = random.Random(seed).randint(0, room)
        times = self.trace.at_s[start : start + count + 1]
        span = times[-1] - times[0]
        scale = count / self.rate_per_s / span if span > 0 else 0.0
        return tuple((at - times[0]) * scale for at in times[1:])


def spread_seed(*parts: int | str) -> int:
    """One seed from several numbers or names, the same in every process (unlike `hash`)."""
    return random.Random("/".join(map(str, parts))).getrandbits(31)
