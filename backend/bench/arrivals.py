"""When requests come: each pattern an object of its own, seeded, without clock or I/O."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.traces import Trace


class Arrivals(Protocol):
    """Offsets from the start of a block, ascending, in seconds."""

    def offsets_s(self, count: int, *, seed: int) -> tuple[float, ...]: ...


@dataclass(frozen=True, slots=True)
class Constant:
    """One every 1/rate seconds."""

    rate_per_s: float

    def offsets_s(self, count: int, *, seed: int) -> tuple[float, ...]:
        """The seed changes nothing: there is nothing random."""
        del seed
        return tuple(index / self.rate_per_s for index in range(count))


@dataclass(frozen=True, slots=True)
class Poisson:
    """Exponential gaps: users that know nothing of each other."""

    rate_per_s: float

    def offsets_s(self, count: int, *, seed: int) -> tuple[float, ...]:
        source = random.Random(seed)
        gaps = (source.expovariate(self.rate_per_s) for _ in range(count))
        return tuple(itertools.accumulate(gaps))


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


@dataclass(frozen=True, slots=True)
class Burst:
    """A steady Poisson stream with `size` requests at once in the middle of the block."""

    rate_per_s: float
    size: int

    def offsets_s(self, count: int, *, seed: int) -> tuple[float, ...]:
        steady = Poisson(self.rate_per_s).offsets_s(max(0, count - self.size), seed=seed)
        middle = steady[len(steady) // 2] if steady else 0.0
        return tuple(sorted((*steady, *itertools.repeat(middle, min(self.size, count)))))


PATTERNS: dict[str, Callable[[float, Trace], Arrivals]] = {
    "constant": lambda rate, _trace: Constant(rate),
    "poisson": lambda rate, _trace: Poisson(rate),
    "trace": lambda rate, trace: TraceTimed(trace, rate),
}
"""By the name that the command line and the result use."""


def spread_seed(*parts: int | str) -> int:
    """One seed from several numbers or names, the same in every process (unlike `hash`)."""
    return random.Random("/".join(map(str, parts))).getrandbits(31)
