"""How many times better our arm is than the one it is measured against, and whether that is enough."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.postgres.record import SEED, Measured
from bench.statistics import Mean, compare

OURS = ("fluido", "GroupWriter", "RowStreams", "lanes")
# The least ratio that was promised, by the beginning of the experiment's name, the metric and the control.
LINES: tuple[tuple[str, str, str, float], ...] = (
    ("waiting", "wait p99 ms", "SQLAlchemy", 2.0),
    ("waiting", "longest wait ms", "SQLAlchemy", 3.0),
    ("waiting", "calls/s", "SQLAlchemy", 1.0),
    ("burst on hot rows", "mean ms", "V1 (5+10)", 8.0),
    ("light calls", "p99 ms", "no lanes", 10.0),
    ("inserts, 256", "rows/s", "autocommit", 8.0),
    ("inserts, 256", "p50 ms", "autocommit", 1.0),
    ("scan, narrow", "rows/s", "SQLAlchemy stream", 1.5),
    ("scan, rows of 8 KB", "rows/s", "SQLAlchemy stream", 1.0),
    ("scan, rows of 8 KB", "peak MB", "SQLAlchemy stream", 4.0),
    ("scan, 10 ms away", "rows/s", "SQLAlchemy stream", 3.0),
    ("one caller", "p50 us", "V1 (5+10)", 1 / 1.05),
    ("limit", "calls/s", "best static", 0.9),
    ("limit, I/O", "calls/s", "V1 (5+10)", 2.0),
    ("limit, two hot rows", "calls/s", "V1 (5+10)", 1.5),
    ("limit", "calls/s", "V1 (5+10)", 1.0),
    ("co-tenant", "calls/s", "best static", 0.9),
    ("fleet", "calls/s", "best static", 0.9),
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """`ratio` above 1 is in favour of `arm`; both ends are nan with fewer than five paired blocks."""

    experiment: str
    metric: str
    control: str
    arm: str
    ratio: float
    low: float
    high: float
    blocks: int
    line: float | None

    @property
    def verdict(self) -> str:
        """Where the ratio and its interval lie beside what was promised; "" where nothing was."""
        if self.line is None:
            return ""
        if self.low >= self.line:
            return "reached"
        if self.high < self.line:
            return "MISSED"
        return f"{'reached' if self.ratio >= self.line else 'missed'}, not certain"


def ratios(measured: Sequence[Measured]) -> list[Ratio]:
    """Every arm of ours against every other arm of its experiment, in each metric that both have."""
    found: list[Ratio] = []
    for treatment in measured:
        if not treatment.arm.startswith(OURS):
            continue
        for control in measured:
            same = (control.experiment, control.metric) == (treatment.experiment, treatment.metric)
            if same and not control.arm.startswith(OURS) and _paired(control, treatment):
                found.append(_ratio(control, treatment))
    return found


def _ratio(control: Measured, treatment: Measured) -> Ratio:
    comparison = compare(
        control.blocks,
        treatment.blocks,
        Mean(),
        seed=SEED,
        lower_is_better=treatment.lower_is_better,
    )
    return Ratio(
        treatment.experiment,
        treatment.metric,
        control.arm,
        treatment.arm,
        comparison.ratio,
        comparison.low,
        comparison.high,
        comparison.blocks,
        _line(treatment.experiment, treatment.metric, control.arm),
    )


def _paired(control: Measured, treatment: Measured) -> bool:
    values = [value for row in (control, treatment) for block in row.blocks for value in block]
    return len(control.blocks) == len(treatment.blocks) and all(0 < value < math.inf for value in values)


def _line(experiment: str, metric: str, control: str) -> float | None:
    for start, of, against, least in LINES:
        if experiment.startswith(start) and (metric, control) == (of, against):
            return least
    return None
