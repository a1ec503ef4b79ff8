"""The day that changes: what the law did in each phase beside the constants, and why its limit moved."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.catalogue import DAY, LAW, STATIONARY, WHOLE_DAY
from bench.report import spanish
from bench.report.study import RATE, SHARE, Figure, Study
from bench.samples import Timeline

REASONS = {
    "more_does_more": "más a la vez rinde más",
    "fewer_do_as_much": "menos rinde lo mismo",
    "reference_better": "la constante rinde más",
    "leap": "salto: rinde mucho más",
    "demand_ends": "no hay quien pida más",
    "shift": "cambió el ritmo",
    "other_work": "cambió el trabajo",
    "standstill": "nadie terminaba",
}
"""Those of the law's reasons that say why a limit moved; it has others for looking on."""
MOST_MARKS = 40
"""Reasons that the width of the chart has room for."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Calls a second in one stretch of the day, by arm."""

    name: str
    law: float
    constants: dict[str, float]

    @property
    def oracle(self) -> float:
        """What the best constant of this phase does."""
        return max(self.constants.values())


@dataclass(frozen=True, slots=True)
class Day:
    """`whole`: the law against each constant held all day, and against the oracle, in share of the oracle."""

    phases: tuple[Phase, ...]
    whole: tuple[Figure, ...]
    timeline: Timeline | None

    @property
    def best(self) -> str:
        """The constant that did most over the whole day."""
        rivals = [figure for figure in self.whole if figure.row.control.startswith("constant_")]
        return max(rivals, key=lambda figure: figure.row.control_value).row.control

    @property
    def is_known(self) -> bool:
        return bool(self.phases) and all(figure.is_known for figure in self.whole)

    def marks(self) -> list[tuple[float, str, bool]]:
        """Seconds, words, and whether a phase begins there; reasons far enough apart to be read."""
        if self.timeline is None:
            return []
        events = sorted((float(at), str(what)) for at, what in self.timeline.events)
        gap = max(self.timeline.at_s, default=0.0) / MOST_MARKS
        found: list[tuple[float, str, bool]] = []
        last = -gap
        for at, what in events:
            if what.startswith("phase "):
                found.append((at, what, True))
            elif what in REASONS and at - last >= gap:
                found.append((at, REASONS[what], False))
                last = at
        return found


def day_of(study: Study) -> Day | None:
    """None where the run has no whole day."""
    whole = tuple(study.figures(experiment=DAY, level=WHOLE_DAY, measure=SHARE, treatment=LAW))
    if not any(figure.row.control.startswith("constant_") for figure in whole):
        return None
    phases = []
    for level in (level for level in study.levels(DAY) if level >= 1):
        found = list(study.figures(experiment=DAY, level=level, measure=RATE, treatment=LAW))
        constants = {
            f.row.control: f.row.control_value for f in found if f.row.control.startswith("constant_")
        }
        if constants:
            phases.append(Phase(spanish.level(DAY, level), found[0].row.treatment_value, constants))
    return Day(tuple(phases), whole, study.timeline)


HEADER = (
    "mantenido todo el día",
    "parte del oráculo",
    "la ley",
    "razón de la ley",
    "intervalo 95 %",
    "cada corrida",
    "fila",
)


def whole_rows(day: Day) -> list[tuple[str, ...]]:
    """The law against every constant and the oracle."""
    ordered = sorted(day.whole, key=lambda figure: figure.row.control_value)
    names = {"oracle": "la mejor constante de cada fase (oráculo)"}
    return [
        (
            names.get(f.row.control, spanish.arm(f.row.control)),
            f.value("control"), f.value("treatment"), f.ratio, f.interval, f.runs, str(f.at),
        )
        for f in ordered
    ]  # fmt: skip


def told(study: Study) -> str:
    """The claim on adapting as such, in a sentence."""
    found = day_of(study)
    claim = study.summary.claim("day")
    if found is None:
        return f"**Un día que cambia:** {spanish.ABSENT}."
    rival = next(figure for figure in found.whole if figure.row.control == found.best)
    oracle = next((figure for figure in found.whole if figure.row.control == "oracle"), None)
    reached = (
        f", y el {spanish.percent(oracle.row.treatment_value)} de lo que hace el oráculo" if oracle else ""
    )
    verdict = {"better": "demostrado", "worse": "demostrado lo contrario"}.get(claim.verdict, "no demostrado")
    return (
        f"**Un día que cambia:** los límites dinámicos hacen {rival.ratio} veces ({rival.interval}) el "
        f"trabajo del mejor límite fijo mantenido todo el día{reached}: {verdict}."
    )


def stationary(study: Study) -> str:
    """Work that does not change: against the stock pool, and against the best constant of each cell."""
    stock = list(study.figures(experiment=STATIONARY, measure=RATE, control="stock", treatment=LAW))
    if not stock:
        return f"**Trabajo que no cambia:** {spanish.ABSENT}."
    best = [
        figure for level in dict.fromkeys(f.row.level for f in stock) if (figure := _strongest(study, level))
    ]
    said = (
        "**Trabajo que no cambia,** primeros diez segundos incluidos: contra el pool de fábrica, la ley "
        f"rinde {_range(stock)}"
    )
    if best:
        said += f"; contra la mejor constante de cada caso, {_range(best)}"
    worse = [f"{figure.level} ({figure.ratio})" for figure in (*stock, *best) if figure.kind == "worse"]
    if not worse:
        return f"{said}. En ningún caso queda todo el intervalo bajo 1."
    return f"{said}. Con todo el intervalo bajo 1: {spanish.joined(worse)}."


def _strongest(study: Study, level: float) -> Figure | None:
    rivals = [
        f
        for f in study.figures(experiment=STATIONARY, level=level, measure=RATE, treatment=LAW)
        if f.row.control.startswith("constant_")
    ]
    return max(rivals, key=lambda figure: figure.row.control_value, default=None)


def _range(found: Sequence[Figure]) -> str:
    ratios = sorted(figure.row.ratio for figure in found)
    return f"entre {spanish.number(ratios[0])} y {spanish.number(ratios[-1])} veces en {len(found)} casos"
