"""What a run leaves behind: counts of every half second, the limits, a hash of the schedule."""

from dataclasses import dataclass, field

from fluido._metrics import Histogram

BIN_S = 0.5


@dataclass(slots=True)
class Bin:
    """What happened in half a second, over the replicas of the law under test."""

    completed: int = 0
    service_s: float = 0.0
    total_s: float = 0.0
    failed: int = 0
    limit: float = 0.0
    foreign: int = 0
    gave_up: int = 0


@dataclass(slots=True)
class Trace:
    """A finished run: bins of half a second, every replica's limit at each; totals and counts by phase."""

    bins: list[Bin] = field(default_factory=list)
    limits: list[tuple[float, ...]] = field(default_factory=list)
    by_replica: list[list[int]] = field(default_factory=list)
    totals: list[Histogram] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    calls: int = 0
    schedule: int = 0  # a hash of every start and end, to compare schedules with
