"""The picture of one run, for one screen: at most five small charts, and only of what was run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench import charts
from bench.catalogue import DAY, LIVING, RUNGS, VISITS, WHOLE_DAY, Language
from bench.statistics import MIN_BLOCKS
from bench.summary import capacities_of, rows_of

_TITLES = {
    "targets": ("Lo que esperaba el cliente y lo medido", "The customer's targets and what was measured"),
    "load": ("Personas que vuelven", "People who come back"),
    "ladder": ("Aporte de cada mejora, mismas personas", "What each lever adds, same people"),
    "living": ("Conversaciones vivas a la vez", "Live conversations at a time"),
    "day": ("Un día que cambia", "A day that changes"),
    "whole": ("Sentinel: límites fijos y dinámicos", "Sentinel: static and dynamic buffers"),
    "short": (
        "Corrida demasiado corta para una figura:\nmenos de {0} rondas de cada comparación",
        "This run is too short for a picture:\nunder {0} rounds of every comparison",
    ),
    "incomplete": ("corrida incompleta", "INCOMPLETE RUN"),
}
_SIZE_IN = (12.8, 7.2)
_COLUMNS = 3

Panel = tuple[str, Callable[[Axes], None]]


def overview(document: Mapping[str, Any], path: Path, language: Language = "es") -> None:
    """Draw what the document holds; under five rounds nothing is drawn, and the picture says so."""
    mpl.use("Agg")

    def title(name: str) -> str:
        return _TITLES[name][language == "en"]

    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    panels = _panels(document, language)
    machine = document["environment"]
    commit = str(machine.get("commit", ""))[:12] or "?"
    state = "" if document["complete"] else f" - {title('incomplete')}"
    figure.suptitle(f"{title('whole')} ({commit}){state}", fontsize=11)
    if not panels:
        figure.text(0.5, 0.5, title("short").format(MIN_BLOCKS), ha="center", va="center", fontsize=16)
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // _COLUMNS) if panels else 0
    for number, (name, draw) in enumerate(panels):
        axes = figure.add_subplot(lines, columns, number + 1)
        draw(axes)
        axes.set_title(title(name), fontsize=10, loc="left")
    figure.savefig(path, dpi=100)


def _panels(document: Mapping[str, Any], language: Language) -> list[Panel]:
    rows = [row for row in rows_of(document) if row.rounds >= MIN_BLOCKS]
    seen = {row.experiment for row in rows}
    found: list[Panel] = []
    if seen & {VISITS, "postgresql_turn", "redis_turn"}:
        found.append(("targets", lambda axes: charts.targets(axes, [rows], language)))
    if VISITS in seen:
        capacity = capacities_of(document).get(VISITS, {})
        found.append(("load", lambda axes: charts.over_load(axes, rows, capacity, language)))
    if RUNGS in seen:
        found.append(("ladder", lambda axes: charts.ladder(axes, rows, language)))
    if LIVING in seen:
        found.append(("living", lambda axes: charts.living(axes, rows, language)))
    if any((row.experiment, row.level) == (DAY, WHOLE_DAY) for row in rows):
        found.append(("day", lambda axes: charts.whole_day(axes, rows, language)))
    return found
