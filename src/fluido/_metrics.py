"""What a flow tells about itself: counts, quantiles and the reasons of its law."""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

SUB_BUCKETS = 16  # per octave: a quantile is off by at most 1/32 of itself
LOWEST_S = 1e-6
OCTAVES = 36  # 1 us to 19 h
_LOWEST_EXPONENT = math.frexp(LOWEST_S)[1]
_BUCKETS = SUB_BUCKETS * OCTAVES + 1
# What is exported: each power of two from 1/4 ms to 512 s. An octave of ours begins at every one of them, so
# no duration is counted on the wrong side of a bound.
_FIRST_BOUND, _LAST_BOUND = -12, 9
BOUNDS_S = tuple(math.ldexp(1.0, power) for power in range(_FIRST_BOUND, _LAST_BOUND + 1))
_BELOW = tuple(
    SUB_BUCKETS * (power + 1 - _LOWEST_EXPONENT) + 1 for power in range(_FIRST_BOUND, _LAST_BOUND + 1)
)


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram as others add it up: how many were below each of `BOUNDS_S`, all, and their sum."""

    below: tuple[int, ...] = (0,) * len(BOUNDS_S)
    count: int = 0
    sum_s: float = 0.0


class Histogram:
    """Durations in fixed logarithmic buckets; histograms of several processes add up with `merge`."""

    __slots__ = ("count", "counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.count = 0
        self.sum_s = 0.0

    def record(self, value_s: float) -> None:
        """Add one duration in seconds. Negative and NaN count as zero."""
        self.count += 1
        if not value_s > LOWEST_S:
            self.counts[0] += 1
            return
        if value_s == math.inf:
            self.counts[-1] += 1
            return
        self.sum_s += value_s
        mantissa, exponent = math.frexp(value_s)
        index = (
            (exponent - _LOWEST_EXPONENT) * SUB_BUCKETS + int(mantissa * 2 * SUB_BUCKETS) - SUB_BUCKETS + 1
        )
        self.counts[index if index < _BUCKETS else -1] += 1

    def add_zeros(self, count: int) -> None:
        """Add so many durations of nothing at all."""
        self.count += count
        self.counts[0] += count

    def merge(self, other: "Histogram") -> None:
        """Add what another histogram counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.count += other.count
        self.sum_s += other.sum_s

    def buckets(self) -> Buckets:
        """What it holds now, at the bounds that every exporter shares."""
        seen = list(accumulate(self.counts))
        return Buckets(tuple(seen[index - 1] for index in _BELOW), self.count, self.sum_s)

    def quantile(self, q: float) -> float:
        """The middle of the bucket that holds quantile `q` in seconds; 0.0 when nothing was recorded."""
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile lies in [0, 1], not {q}")
        if not self.count:
            return 0.0
        rank = max(1, math.ceil(q * self.count))
        seen = 0
        for index, bucket in enumerate(self.counts):
            seen += bucket
            if seen >= rank:
                return _middle(index)
        return _middle(_BUCKETS - 1)


def _middle(index: int) -> float:
    if index == 0:
        return 0.0
    octave, step = divmod(index - 1, SUB_BUCKETS)
    low = math.ldexp(0.5 + step / (2 * SUB_BUCKETS), octave + _LOWEST_EXPONENT)
    return low * (1.0 + 1.0 / (2 * (SUB_BUCKETS + step)))


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision of a law and when it was taken, seconds on the flow's clock."""

    at_s: float
    value: float
    reason: str
    inputs: Mapping[str, float]


class DecisionLog:
    """The last decisions, and how often each reason was given."""

    __slots__ = ("_reasons", "_records")

    def __init__(self, capacity: int = 256) -> None:
        self._records: deque[DecisionRecord] = deque(maxlen=capacity)
        self._reasons: Counter[str] = Counter()

    def record(self, at_s: float, value: float, reason: str, inputs: Mapping[str, float]) -> None:
        """Keep one decision; the oldest is dropped when the log is full."""
        self._records.append(DecisionRecord(at_s, value, reason, inputs))
        self._reasons[reason] += 1

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[DecisionRecord]:
        return iter(tuple(self._records))

    @property
    def reasons(self) -> dict[str, int]:
        """How often each reason was given since the start."""
        return dict(self._reasons)


@dataclass(frozen=True, slots=True)
class FlowStats:
    """A flow at one moment. Counts are since it was built; quantiles cover the same time.

    `value` is what is in force, `floor` and `ceiling` bound it. A flow that is `pinned` does not listen to
    its law; one in `shadow` logs what its law would do and does not do it. `wait_ms_longest` is how long the
    first of those who wait now has waited, `longest_label` its class of work; `brake` is the factor in (0, 1]
    on the limit while calls fail. `waits` and `services` are the durations behind the quantiles, for
    exporters; None where a flow measures none.

    Where a law compares, `reference` is the constant that the user had, and `compared` its last comparison:
    `compared` at a time did `gain` (a share; below zero: less) more than `with` at a time, give or take
    `error`. Both are 0 or empty otherwise. `words` says it in plain English.
    """

    name: str
    kind: str
    law: str = "fixed"
    value: float = 0.0
    floor: float = 0.0
    ceiling: float = 0.0
    inflight: int = 0
    waiting: int = 0
    admitted: int = 0
    refused: int = 0
    timed_out: int = 0
    cancelled: int = 0
    completed: int = 0
    overloads: int = 0
    wait_ms_p50: float = 0.0
    wait_ms_p99: float = 0.0
    wait_ms_longest: float = 0.0
    longest_label: str = ""
    service_ms_p50: float = 0.0
    service_ms_p99: float = 0.0
    brake: float = 1.0
    pinned: bool = False
    shadow: bool = False
    decisions: tuple[DecisionRecord, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    waits: Buckets | None = field(default=None, repr=False)
    services: Buckets | None = field(default=None, repr=False)
    reference: float = 0.0
    compared: Mapping[str, float] = field(default_factory=dict)
    words: str = ""


class Bounded(Protocol):
    """A law, as far as its name and its bounds are told."""

    @property
    def name(self) -> str:
        """What it is called in the log and in metrics."""

    @property
    def floor(self) -> float:
        """It never goes below."""

    @property
    def ceiling(self) -> float:
        """It never goes above."""


class Meter:
    """Every counter and histogram of one flow, and the only maker of its FlowStats.

    `name` tells the flow from others of its kind in logs and metrics. `waits` and `services` record seconds;
    a flow that measures one of them not says so, and exporters leave it out.
    """

    __slots__ = (
        "_has_services",
        "_has_waits",
        "admitted",
        "cancelled",
        "completed",
        "kind",
        "name",
        "overloads",
        "refused",
        "services",
        "timed_out",
        "waits",
    )

    def __init__(self, name: str, kind: str, *, waits: bool = True, services: bool = True) -> None:
        self.name = name
        self.kind = kind
        self.admitted = self.refused = self.timed_out = self.cancelled = 0
        self.completed = self.overloads = 0
        self.waits = Histogram()
        self.services = Histogram()
        self._has_waits = waits
        self._has_services = services

    def stats(
        self,
        law: Bounded,
        decisions: Iterable[DecisionRecord],
        reasons: Mapping[str, int],
        *,
        value: float,
        inflight: int = 0,
        waiting: int = 0,
    ) -> FlowStats:
        """The flow at this moment. What only some flows have is put in with `dataclasses.replace`."""
        return FlowStats(
            name=self.name,
            kind=self.kind,
            law=law.name,
            value=value,
            floor=law.floor,
            ceiling=law.ceiling,
            inflight=inflight,
            waiting=waiting,
            admitted=self.admitted,
            refused=self.refused,
            timed_out=self.timed_out,
            cancelled=self.cancelled,
            completed=self.completed,
            overloads=self.overloads,
            wait_ms_p50=self.waits.quantile(0.5) * 1e3,
            wait_ms_p99=self.waits.quantile(0.99) * 1e3,
            service_ms_p50=self.services.quantile(0.5) * 1e3,
            service_ms_p99=self.services.quantile(0.99) * 1e3,
            decisions=tuple(decisions),
            reasons=reasons,
            waits=self.waits.buckets() if self._has_waits else None,
            services=self.services.buckets() if self._has_services else None,
        )
