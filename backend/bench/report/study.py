"""What was measured, as the documents ask for it: both runs together, and each beside the other."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.catalogue import (
    CAPACITY_OF,
    DAY,
    LIVING,
    MEMORY,
    RUNGS,
    SAME,
    VISITS,
    WHOLE_DAY,
)
from bench.report import spanish
from bench.report.sources import Run, together
from bench.samples import Outcome, Timeline
from bench.statistics import MIN_BLOCKS
from bench.summary import Capacity, Judged, Row

V1, V2 = "v1", "v2"
END, FIRST, TAIL, TURN = "end to end p50", "first token p50", "end to end p95", "latency p50"
SHARE, RATE = "share of the oracle", "rate"
REALISTIC = 0.8
"""The load of the customer's rows: a server is planned for it, with room for a peak."""
CLOSE = 1.25
"""Two versions whose whole interval lies within this factor are called equal."""
OURS = ("v2", "law")
STRUCTURE = (SAME, CAPACITY_OF, MEMORY)
"""Experiments whose rows are told elsewhere than in the lists of what helps and what does not."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure of two versions. `row`: all runs together; `each`: every run, None where it has it not.

    `at`: its line in the annex.
    """

    at: int
    row: Row
    each: tuple[Row | None, ...]

    @property
    def is_known(self) -> bool:
        """There are rounds enough for an interval."""
        ends = (self.row.ratio, self.row.low, self.row.high)
        return self.row.rounds >= MIN_BLOCKS and all(map(math.isfinite, ends))

    @property
    def kind(self) -> str:
        """`better`, `worse`, `equal` or `open`, by the interval alone: no verdict, nothing is corrected."""
        if not self.is_known:
            return "open"
        if self.row.low > 1:
            return "better"
        if self.row.high < 1:
            return "worse"
        return "equal" if self.row.high <= CLOSE and self.row.low >= 1 / CLOSE else "open"

    @property
    def name(self) -> str:
        """`respuesta completa, mediana`."""
        return spanish.measure(self.row.measure)

    @property
    def level(self) -> str:
        return spanish.level(self.row.experiment, self.row.level)

    @property
    def ratio(self) -> str:
        return spanish.number(self.row.ratio)

    @property
    def interval(self) -> str:
        return spanish.between(self.row.low, self.row.high) if self.is_known else spanish.SHORT_RUN

    @property
    def runs(self) -> str:
        """`3,01 y 3,12`: the ratio of each run; `una` where there is only one."""
        found = [spanish.number(row.ratio) for row in self.each if row is not None]
        return " y ".join(found) if len(found) > 1 else "una"

    @property
    def times(self) -> str:
        """`2,1 veces (2,0 a 2,2)`."""
        return f"{spanish.times(self.row.ratio)} veces ({self.interval})"

    def told(self) -> str:
        """`3,1 veces más rápido (2,8 a 3,4)`, or what else the interval allows to say."""
        if not self.is_known:
            return "la corrida es demasiado corta para decirlo"
        if self.kind == "better":
            return self.times.replace(" (", " más rápido (")
        if self.kind == "worse":
            return (
                f"{spanish.times(1 / self.row.ratio)} veces más lento (razón {self.ratio}, {self.interval})"
            )
        same = "igual" if self.kind == "equal" else "sin diferencia demostrada"
        return f"{same} (razón {self.ratio}, {self.interval})"

    def value(self, side: str) -> str:
        """`524 ms`: of `control` or `treatment`, all runs together."""
        found, unit = getattr(self.row, f"{side}_value"), spanish.unit(self.row.unit)
        if self.row.unit == "" and self.row.measure.endswith(("share", "in time", "answers", "oracle")):
            return spanish.percent(found, 1)
        return f"{spanish.number(found)}{unit if unit.startswith('/') else f' {unit}'}".rstrip()


class Study:
    """`runs` are of one engine; `others` of real ones, a few rows each."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """`runs`: the main one first; those of its engine are pooled, the others stand apart."""
        self.runs = tuple(run for run in runs if run.engine == runs[0].engine)
        self.others = tuple(run for run in runs if run.engine != runs[0].engine)
        self.summary = together(self.runs) if len(self.runs) > 1 else self.runs[0].summary
        self.rows = self.summary.rows
        self._each = [{row.identity: row for row in run.summary.rows} for run in self.runs]

    @property
    def main(self) -> Run:
        return self.runs[0]

    @property
    def cores(self) -> str:
        """`2 núcleos`."""
        return f"{self.main.results.environment.get('cores', '?')} núcleos"

    @cached_property
    def repeats(self) -> int:
        """How many runs the people's rows come from."""
        return max((sum(r is not None for r in f.each) for f in self.figures(experiment=VISITS)), default=1)

    @property
    def claims(self) -> tuple[Judged, ...]:
        return self.summary.claims

    def figures(self, **wanted: Any) -> Iterator[Figure]:
        """Those that agree in everything given (experiment, level, measure, control, treatment)."""
        for at, row in enumerate(self.rows):
            if all(_same(getattr(row, key), value) for key, value in wanted.items()):
                yield Figure(at, row, tuple(each.get(row.identity) for each in self._each))

    def figure(
        self,
        experiment: str,
        measure: str,
        treatment: str = V2,
        *,
        control: str = V1,
        level: float | None = None,
    ) -> Figure | None:
        """The first of them; at any level unless one is given."""
        wanted = {"experiment": experiment, "measure": measure, "control": control, "treatment": treatment}
        return next(self.figures(**wanted, **({} if level is None else {"level": level})), None)

    def of(self, row: Row | None) -> Figure | None:
        """The figure of a pooled row."""
        return None if row is None else next(f for f in self.figures() if f.row is row)

    def has(self, experiment: str) -> bool:
        return any(row.experiment == experiment for row in self.rows)

    def levels(self, experiment: str) -> list[float]:
        return sorted({row.level for row in self.rows if row.experiment == experiment})

    def capacity(self, arm: str) -> Capacity | None:
        """Answers a second without pauses; None where too few rounds were measured."""
        found = self.summary.capacity.get(VISITS, {}).get(arm)
        return (
            found if found is not None and found.rounds >= MIN_BLOCKS and math.isfinite(found.low) else None
        )

    def shorter(self, arm: str, level: float) -> float:
        """Share of requests that saw less history than V1's; nan where it is not known."""
        for row in self.summary.shorter:
            if row.experiment == VISITS and row.arm == arm and math.isclose(row.level, level):
                return row.share
        return math.nan

    def rate(self, arm: str, level: float) -> float:
        """Answers a second that a version gave at a load."""
        blocks = [b for run in self.runs for b in run.results.select(VISITS, arm, level)]
        seconds = sum(block.duration_s for block in blocks)
        return sum(b.count(Outcome.ANSWERED) for b in blocks) / seconds if seconds > 0 else math.nan

    @cached_property
    def timeline(self) -> Timeline | None:
        """The law's over a day, of the first run that has one."""
        lines = (line for run in self.runs for line in run.results.timelines)
        return next((line for line in lines if line.experiment == DAY and line.arm == "law"), None)

    def kinds(self) -> dict[str, list[Figure]]:
        """Every measure of V2 or of the law against something else: better, equal, worse, open.

        Of the day, the whole of it: the best constant of a phase is the oracle's, which is a row of its own.
        """
        found: dict[str, list[Figure]] = {"better": [], "equal": [], "worse": [], "open": []}
        for figure in self.figures():
            row = figure.row
            is_part = row.experiment == DAY and (row.level != WHOLE_DAY or row.measure != SHARE)
            if row.treatment in OURS and row.experiment not in STRUCTURE and not is_part:
                found[figure.kind].append(figure)
        return found


def where(figure: Figure) -> str:
    """`personas que vuelven, al 80 %`; `PostgreSQL`; `32 conversaciones`."""
    row, level = figure.row, figure.level
    if row.experiment == LIVING:
        return level
    load = f"al {level}" if row.experiment in {VISITS, RUNGS} else level
    return ", ".join(filter(None, (spanish.experiment(row.experiment), load)))


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted)
    return bool(found == wanted)
