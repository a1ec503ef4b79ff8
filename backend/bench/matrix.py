"""One line of a matrix: ours beside a rival, from one value a block, and whether it reaches its line."""

import statistics
from dataclasses import dataclass

from bench.statistics import Comparison, Mean, compare

STOCK_LINE, BEST_LINE, BEST_INTERVAL = 0.95, 0.95, 0.90


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the matrix: ours over a rival, above 1 = better."""

    cell: str
    what: str
    rival: str
    theirs: float
    ours: float
    comparison: Comparison
    line: float
    interval: float = 0.0
    limit: float = 0.0

    @property
    def met(self) -> bool:
        """Whether the ratio, and where one is asked for the lower end of its interval, reach the line."""
        low = self.comparison.low
        return self.comparison.ratio >= self.line and not low < self.interval

    def __str__(self) -> str:
        ratio = self.comparison
        limit = f"limit {self.limit:.0f}" if self.limit else ""
        word = "ok" if self.met else "MISSED"
        return (
            f"{self.cell:18s} {self.what:22s} {self.theirs:8.1f} {self.ours:8.1f}  vs {self.rival:15s} "
            f"{ratio.ratio:6.2f} [{ratio.low:.2f}, {ratio.high:.2f}]  {word} {limit}"
        )


def row(
    cell: str,
    what: str,
    rival: str,
    theirs: list[float],
    ours: list[float],
    *,
    lower: bool = False,
    **more: float,
) -> Row:
    """From one value a block; `lower` for times."""
    found = compare(
        [[value] for value in theirs], [[value] for value in ours], Mean(), seed=3, lower_is_better=lower
    )
    line = more.pop("line", STOCK_LINE)
    return Row(cell, what, rival, statistics.fmean(theirs), statistics.fmean(ours), found, line, **more)
