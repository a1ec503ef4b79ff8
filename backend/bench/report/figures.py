"""The five charts of the documents, in Spanish, readable in grey and on one screen."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from bench.catalogue import LIVING, RUNGS, VISITS
from bench.report import customer, spanish
from bench.report.day import Day, day_of
from bench.report.drawings import DRAWINGS
from bench.report.study import END, V1, V2, Study
from bench.report.study import Figure as Measured
from bench.summary import Row

FOLDER = "images"
SIZE = (10.0, 4.3)
BLUE, DARK, MIDDLE, PALE = "#1f6fb4", "#222222", "#6b6b6b", "#c9d9e8"
LOOKS = {
    "v1": (DARK, "--", "o"),
    "v1_best": (MIDDLE, "-.", "s"),
    "v2_constants": ("#8a5a00", ":", "^"),
    "v2": (BLUE, "-", "D"),
}
"""Colour, dash and marker of a version."""
Drawing = Callable[[Study], Figure | None]


def _plot() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    _calm(axes)
    return figure, axes


def _calm(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=12)
    axes.grid(visible=True, color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)


def customer_rows(study: Study) -> Figure | None:
    """The four rows: a bar for both runs together, the band that was hoped for, a dot for each run."""
    lines = customer.lines(study)
    if not any(line.figure is not None and line.figure.is_known for line in lines):
        return None
    figure, axes = _plot()
    ends = [line.target.high for line in lines]
    for at, line in enumerate(reversed(lines)):
        low, high = line.target.low, line.target.high
        axes.barh(at, high - low, left=low, height=0.8, color=PALE, zorder=1)
        found = line.figure
        if found is None or not found.is_known:
            axes.text(0.1, at, "no está en esta corrida", va="center", fontsize=12, color=MIDDLE)
            continue
        axes.barh(at, found.row.ratio, height=0.34, color=BLUE, zorder=2)
        rows = [row for row in found.each if row is not None]
        ends += [found.row.high, *(row.high for row in rows if math.isfinite(row.high))]
        for place, row in enumerate(rows):
            _dot(axes, row, at + 0.27 - 0.54 * place / max(1, len(rows) - 1) if len(rows) > 1 else at)
        reach = max([high, found.row.high, *(row.high for row in rows if math.isfinite(row.high))])
        text = f"{spanish.times(found.row.ratio)} veces: {line.state}"
        axes.text(reach * 1.01 + 0.06, at, text, va="center", fontsize=12, zorder=4)
    axes.set_yticks(range(len(lines)), [line.title for line in reversed(lines)], fontsize=13)
    axes.axvline(1, color=DARK, linewidth=1.2)
    axes.set_xlim(0, max(ends) * 1.4)
    axes.grid(visible=False, axis="y")
    dots = "cada punto, una corrida con su intervalo" if study.repeats > 1 else "el punto, con su intervalo"
    said = "veces más rápido que V1 (1 = igual)\nfranja clara: lo que esperaba el cliente; barra: lo medido; "
    figure.supxlabel(said + dots, fontsize=12)
    return figure


def _dot(axes: Axes, row: Row, at: float) -> None:
    if math.isfinite(row.low):
        axes.plot([row.low, row.high], [at, at], color=DARK, linewidth=1.6, zorder=3)
    axes.plot([row.ratio], [at], marker="o", color=DARK, markersize=6, zorder=3)


def over_load(study: Study) -> Figure | None:
    """End to end over what was served, with the capacity of each version as a vertical line."""
    found = list(study.figures(experiment=VISITS, measure=END, control=V1, treatment=V2))
    if not _drawable(found, 2):
        return None
    figure, axes = _plot()
    for arm, (colour, dash, _) in LOOKS.items():
        points = [point for level in study.levels(VISITS) if (point := _at(study, arm, level))]
        if not points:
            continue
        rates, values = zip(*points, strict=True)
        _curve(axes, rates, values, arm)
        capacity = study.capacity(arm)
        if capacity is not None and arm in {V1, V2}:
            axes.axvline(capacity.estimate, color=colour, linestyle=dash, linewidth=1.2)
            axes.annotate(
                f"tope de {spanish.arm(arm)}", (capacity.estimate, 0.98), xycoords=("data", "axes fraction"),
                rotation=90, va="top", ha="right", fontsize=11, color=colour,
            )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel(
        "respuestas por segundo atendidas (50, 80 y 100 % de la capacidad de cada versión)", fontsize=12
    )
    axes.set_ylabel("respuesta completa, mediana (ms)", fontsize=12)
    axes.legend(frameon=False, fontsize=12, loc="upper left")
    return figure


def _curve(axes: Axes, at: Sequence[float], values: Sequence[float], arm: str) -> None:
    colour, dash, marker = LOOKS[arm]
    axes.plot(
        at,
        values,
        color=colour,
        linestyle=dash,
        marker=marker,
        linewidth=2.2,
        markersize=8,
        label=spanish.arm(arm),
    )


def _drawable(found: Sequence[Measured], least: int) -> bool:
    """Enough points, each of at least five rounds."""
    return len(found) >= least and all(figure.is_known for figure in found)


def _at(study: Study, arm: str, level: float) -> tuple[float, float] | None:
    """What a version served at a load, and its median."""
    found = study.figure(VISITS, END, V2 if arm == V1 else arm, level=level)
    rate = study.rate(arm, level)
    if found is None or not math.isfinite(rate):
        return None
    return rate, found.row.control_value if arm == V1 else found.row.treatment_value


def ladder(study: Study) -> Figure | None:
    """From V1 upwards, one improvement at a time."""
    found = list(study.figures(experiment=RUNGS, measure=END, control=V1))
    if not _drawable(found, 1):
        return None
    figure, axes = _plot()
    first = found[0].row
    bars = [("V1", first.control_value, first.control_low, first.control_high, "", DARK)]
    for one in found:
        row, colour = one.row, BLUE if one.row.treatment == V2 else MIDDLE
        said = f": {spanish.times(row.ratio)} veces más rápido" if row.ratio >= 1 else f": {one.ratio} de V1"
        bars.append(
            (
                spanish.arm(row.treatment),
                row.treatment_value,
                row.treatment_low,
                row.treatment_high,
                said,
                colour,
            )
        )
    for at, (_, value, low, high, said, colour) in enumerate(reversed(bars)):
        axes.barh(at, value, height=0.55, color=colour)
        axes.plot([low, high], [at, at], color="#000000", linewidth=1.8)
        axes.text(max(value, high) * 1.02, at, f"{spanish.number(value)} ms{said}", va="center", fontsize=12)
    axes.set_yticks(range(len(bars)), [name for name, *_ in reversed(bars)], fontsize=13)
    axes.set_xlim(0, max(high for _, _, _, high, *_ in bars) * 1.3)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(
        "respuesta completa, mediana (ms; más corto es mejor), con las mismas personas", fontsize=12
    )
    return figure


def live(study: Study) -> Figure | None:
    """Latency over the number of live conversations: where the gain ends."""
    found = list(study.figures(experiment=LIVING, measure=END, control=V1, treatment=V2))
    if not _drawable(found, 2):
        return None
    figure, axes = _plot()
    levels = [one.row.level for one in found]
    for arm in LOOKS:
        rows = [
            one.row
            for level in levels
            if (one := study.figure(LIVING, END, V2 if arm == V1 else arm, level=level))
        ]
        if len(rows) < len(levels):
            continue
        values = [row.control_value if arm == V1 else row.treatment_value for row in rows]
        _curve(axes, levels, values, arm)
    for one in found:
        axes.annotate(
            f"{spanish.times(one.row.ratio)} veces", (one.row.level, one.row.treatment_value),
            xytext=(0, -20), textcoords="offset points", ha="center", fontsize=12, color=BLUE,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(levels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([spanish.count(level) for level in levels])
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
    axes.margins(x=0.08)
    axes.set_xlabel(
        "conversaciones vivas (cada marca, cuatro veces la anterior); en azul, V2 frente a V1", fontsize=12
    )
    axes.set_ylabel("respuesta completa, mediana (ms)", fontsize=12)
    axes.legend(frameon=False, fontsize=12, loc="upper left", ncols=3)
    return figure


def day(study: Study) -> Figure | None:
    """The limit over the day with its reasons; below, each phase: law, best constant of the day, oracle."""
    found = day_of(study)
    if found is None or not found.is_known:
        return None
    has_line = found.timeline is not None
    figure = Figure(figsize=(10.0, 5.6 if has_line else 3.2), layout="constrained")
    panels = figure.subplots(2 if has_line else 1, 1, squeeze=False)[:, 0]
    if has_line:
        _limits(panels[0], found)
    _phases(panels[-1], found)
    return figure


def _limits(axes: Axes, found: Day) -> None:
    line = found.timeline
    assert line is not None  # noqa: S101 - the caller looked
    _calm(axes)
    for name, colour, dash, label in (
        ("limit", BLUE, "-", "límite de la ley"),
        ("reference", MIDDLE, "--", "referencia: la constante del usuario"),
    ):
        if name in line.values:
            values = [math.nan if value is None else float(value) for value in line.values[name]]
            axes.step(
                line.at_s, values, where="post", color=colour, linestyle=dash, linewidth=1.8, label=label
            )
    axes.set_yscale("log", base=2)
    axes.set_yticks([4, 8, 16, 32, 64, 128], ["4", "8", "16", "32", "64", "128"], fontsize=10)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(2, 6000)
    for at_s, what, begins in found.marks():
        if begins:
            axes.axvline(at_s, color="#bbbbbb", linewidth=1)
            continue
        axes.annotate(
            what, (at_s, 0.99), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="center",
            fontsize=9, color=BLUE,
        )  # fmt: skip
    axes.margins(x=0)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("llamadas a la vez", fontsize=11)
    axes.set_xlabel("segundos; cada raya gris, una fase (abajo, en orden)", fontsize=10)
    axes.legend(frameon=False, fontsize=10, loc="lower right", ncols=2)


def _phases(axes: Axes, found: Day) -> None:
    _calm(axes)
    wide = 0.3
    best = found.best
    for shift, name, colour in (
        (-0.17, f"{spanish.arm(best)}, el mejor de todo el día", MIDDLE),
        (0.17, "la ley", BLUE),
    ):
        rates = [
            phase.law if name == "la ley" else phase.constants.get(best, math.nan) for phase in found.phases
        ]
        shares = [rate / phase.oracle * 100 for rate, phase in zip(rates, found.phases, strict=True)]
        axes.bar([at + shift for at in range(len(shares))], shares, width=wide, color=colour, label=name)
    axes.axhline(100, color=DARK, linewidth=1.2)
    axes.set_xticks(range(len(found.phases)), [_wrapped(phase.name) for phase in found.phases], fontsize=10)
    axes.set_ylim(0, max(140, *(phase.law / phase.oracle * 115 for phase in found.phases)))
    axes.set_ylabel("% de la mejor\nconstante de la fase", fontsize=11)
    axes.grid(visible=False, axis="x")
    axes.legend(frameon=False, fontsize=10, loc="upper right", ncols=2)


def _wrapped(name: str) -> str:
    """Two lines of about the same length."""
    words = name.split()
    if len(words) < 2:
        return name
    cut = min(range(1, len(words)), key=lambda at: abs(len(" ".join(words[:at])) - len(name) / 2))
    return " ".join(words[:cut]) + "\n" + " ".join(words[cut:])


CHARTS: dict[str, tuple[str, Drawing]] = {
    "customer": ("Las cuatro metas del cliente: lo esperado y lo medido", customer_rows),
    "load": ("Respuesta completa según la carga, con la capacidad de cada versión", over_load),
    "ladder": ("Aporte de cada mejora a la respuesta completa", ladder),
    "live": ("Respuesta completa según cuántas conversaciones están vivas", live),
    "day": ("Un día que cambia: el límite con sus razones, y cada fase", day),
    **DRAWINGS,
}


def draw(study: Study, folder: Path) -> None:
    """Write the pictures that have something to show."""
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, make) in CHARTS.items():
        figure = make(study)
        if figure is not None:
            figure.savefig(folder / _file(name), dpi=130)


def names(study: Study) -> dict[str, tuple[str, str]]:
    """Alternative text and path from the documents of each that `draw` writes."""
    return {
        name: (said, f"{FOLDER}/{_file(name)}")
        for name, (said, make) in CHARTS.items()
        if make(study) is not None
    }


def _file(name: str) -> str:
    return f"informe_{name}.png"
