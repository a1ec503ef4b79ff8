"""The pictures of the documents, in Spanish and readable in grey."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.charts import STYLES
from bench.report import spanish
from bench.report.rows import Row, find, ours, workloads
from bench.report.sources import Material

FOLDER = "images"
MARKS = {"better": "o", "worse": "x", "undecided": "$?$"}
ARMS = ("v1_tuned", "fixed", "v2")


def draw(material: Material, folder: Path) -> list[tuple[str, str]]:
    """Write them; returns (alternative text, path from the documents) of those that had anything to show."""
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in _figures(material):
        figure.savefig(folder / name, dpi=110)
    return names(material)


def names(material: Material) -> list[tuple[str, str]]:
    """What `draw` writes for this material, without drawing it."""
    found = [("Veces mejor que lo que había, con intervalo del 95 %", f"{FOLDER}/informe_razones.png")]
    if _loaded(material):
        found.append(("Latencia según la carga", f"{FOLDER}/informe_carga.png"))
    return found


def _figures(material: Material) -> list[tuple[str, Figure]]:
    made = [("informe_razones.png", _ratios(material))]
    if _loaded(material):
        made.append(("informe_carga.png", _over_load(material)))
    return made


def _loaded(material: Material) -> list[str]:
    """Workloads that were measured at more than one load."""
    found = workloads(material, "end to end p50")
    names = dict.fromkeys(str(row.get("experiment")) for row in found)
    return [
        name for name in names if len({r.value("level") for r in found if r.get("experiment") == name}) > 1
    ]


def _ratios(material: Material) -> Figure:
    shown = [row for row in ours(material.main) if row.get("primary") and math.isfinite(row.value("ratio"))]
    figure = Figure(figsize=(12, 1.3 + 0.22 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    for at, row in enumerate(reversed(shown)):
        ratio, low, high = (row.value(key) for key in ("ratio", "low", "high"))
        mark = MARKS.get(str(row.get("verdict")), "o")
        axes.plot([ratio], [at], marker=mark, color="black", linestyle="none", markersize=6)
        if math.isfinite(low) and math.isfinite(high):
            axes.plot([low, high], [at, at], color="black", linewidth=1.5)
    labels = [f"{row.where}: {spanish.measure(row.get('measure'))} [{row.origin}]" for row in reversed(shown)]
    axes.set_yticks(range(len(shown)), labels, fontsize=7)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 1, 2, 5, 10, 20, 50]
    axes.set_xticks(ticks, [spanish.number(tick, "ratio").rstrip("0").rstrip(",") for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1, color="#888888", linewidth=1)
    axes.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)
    axes.set_xlabel("veces mejor que lo que había (eje logarítmico; a la derecha, mejor; x peor, ? indeciso)")
    axes.set_title(f"Razones con intervalo del 95 %, commit {material.main.commit}")
    return figure


def _over_load(material: Material) -> Figure:
    experiments = _loaded(material)
    figure = Figure(figsize=(11, 3.6 * len(experiments)), layout="constrained")
    panels = figure.subplots(len(experiments), 2, squeeze=False)
    for line, experiment in zip(panels, experiments, strict=True):
        for axes, measure in zip(line, ("first token p50", "end to end p50"), strict=True):
            _curves(axes, material, experiment, measure)
    return figure


def _curves(axes: Axes, material: Material, experiment: str, measure: str) -> None:
    base = sorted(
        find(material, treatment="v2", experiment=experiment, measure=measure), key=lambda r: r.value("level")
    )
    _curve(axes, "v1", base, "control")
    for arm in ARMS:
        found = find(material, treatment=arm, experiment=experiment, measure=measure)
        if found:
            _curve(axes, arm, sorted(found, key=lambda r: r.value("level")), "treatment")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="carga, % de la capacidad de V1", ylabel="ms (abajo, mejor)")
    axes.set_title(f"{spanish.experiment(experiment)}: {spanish.measure(measure)}", fontsize=10)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)


def _curve(axes: Axes, arm: str, found: Sequence[Row], side: str) -> None:
    colour, dash, marker = STYLES[arm]
    levels = [row.value("level") * 100 for row in found]
    samples = sum(int(row.get(f"{side}_samples") or 0) for row in found)
    label = f"{spanish.arm(arm)} (n = {samples})"
    middle = [row.value(f"{side}_value") for row in found]
    axes.plot(levels, middle, color=colour, linestyle=dash, marker=marker, label=label)
    lows, highs = ([row.value(f"{side}_{end}") for row in found] for end in ("low", "high"))
    axes.fill_between(levels, lows, highs, color=colour, alpha=0.15, linewidth=0)
