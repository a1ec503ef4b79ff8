"""The five pictures of a run, each from rows alone; versions differ by marker and dash, so it reads in grey.

Axes of latency start at 0 unless they are logarithmic and say so.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from bench.catalogue import (
    DAY,
    LAW,
    LIVING,
    ORACLE,
    RUNGS,
    STOCK,
    VISITS,
    WHOLE_DAY,
    Language,
    at,
    word,
)
from bench.claims import CUSTOMER
from bench.samples import Timeline
from bench.summary import Capacity, Row

STYLES: dict[str, tuple[str, str, str]] = {
    "v1": ("#222222", "--", "o"),
    "v1_best": ("#8a6d3b", "-.", "s"),
    "v1_tuned": ("#8a6d3b", "-.", "s"),
    "v2_constants": ("#7aa6c2", ":", "^"),
    "v2_whole": ("#5fa37a", "-.", "v"),
    "v2": ("#1f6fb4", "-", "D"),
    LAW: ("#1f6fb4", "-", "D"),
}
"""Colour, dash and marker of each version."""
_SPARE = ("#777777", ":", "x")
ORDER = (
    "v1", "v1_tuned", "v1_best", "v1_history", "v1_history_one", "pipelines", "v2_constants", "v2_whole",
    "v2",
)  # fmt: skip
_WORDS: Mapping[str, tuple[str, str]] = {
    "times": ("veces más rápido que V1", "times as fast as V1"),
    "target": ("meta del cliente", "the customer's target"),
    "ms": ("ms (menos es mejor)", "ms (lower is better)"),
    "load": ("carga, % de la capacidad de cada versión", "load, % of each version's own capacity"),
    "capacity": ("capacidad {0:.1f}/s", "capacity {0:.1f}/s"),
    "living": ("conversaciones vivas (eje logarítmico)", "live conversations (log axis)"),
    "share": ("parte del oráculo (más es mejor)", "share of the oracle (higher is better)"),
    "limit": ("límite", "limit"),
    "reference": ("referencia", "reference"),
    "seconds": ("segundos", "seconds"),
}


def said(name: str, language: Language) -> str:
    """A word of the charts."""
    return _WORDS[name][language == "en"]


def place(arm: str) -> int:
    """Where a version stands in every chart."""
    return ORDER.index(arm) if arm in ORDER else len(ORDER)


def values(rows: Sequence[Row], experiment: str, measure: str) -> dict[tuple[str, float], tuple[float, ...]]:
    """Each version's own value by version and level: estimate, low, high."""
    found: dict[tuple[str, float], tuple[float, ...]] = {}
    for row in rows:
        if (row.experiment, row.measure) == (experiment, measure):
            found[row.control, row.level] = (row.control_value, row.control_low, row.control_high)
            found[row.treatment, row.level] = (row.treatment_value, row.treatment_low, row.treatment_high)
    return dict(sorted(found.items(), key=lambda item: (place(item[0][0]), item[0])))


def targets(axes: Axes, runs: Sequence[Sequence[Row]], language: Language) -> None:
    """The customer's four rows: what each run measured, with its interval, and the band they hope for."""
    names = []
    for number, target in enumerate(CUSTOMER):
        y = len(CUSTOMER) - 1 - number
        names.append(target.es if language == "es" else target.en)
        label = said("target", language) if not number else None
        axes.barh(y, target.high - target.low, left=target.low, height=0.8, color="#dfe9f2", label=label)
        for run, rows in enumerate(runs):
            row = next((row for row in rows if row.identity == target.identity), None)
            if row is None:
                continue
            here = y + 0.25 * (run - (len(runs) - 1) / 2)
            axes.plot([row.ratio], [here], marker="oD^"[run % 3], color="#1f6fb4", markersize=5)
            if math.isfinite(row.low):
                axes.plot([row.low, row.high], [here, here], color="#1f6fb4", linewidth=1.6)
    axes.axvline(1, color="#999999", linewidth=1)
    axes.set_yticks(range(len(CUSTOMER)), list(reversed(names)))
    axes.set_xlim(left=0)
    axes.set_xlabel(said("times", language))
    _finish(axes, axis="x")


def over_load(axes: Axes, rows: Sequence[Row], capacity: Mapping[str, Capacity], language: Language) -> None:
    """The median of whole answers over the load, each version's in shares of its own capacity."""
    found = values(rows, VISITS, "end to end p50")
    for arm in dict.fromkeys(arm for arm, _ in found):
        mine = sorted((level, value) for (name, level), value in found.items() if name == arm)
        colour, dash, marker = STYLES.get(arm, _SPARE)
        label = word(arm, language, short=True)
        if arm in capacity:
            label += ", " + said("capacity", language).format(capacity[arm].estimate)
        levels = [100 * level for level, _ in mine]
        axes.plot(levels, [v[0] for _, v in mine], color=colour, linestyle=dash, marker=marker, label=label)
        for level, (_, low, high) in zip(levels, (v for _, v in mine), strict=True):
            if math.isfinite(low):
                axes.plot([level, level], [low, high], color=colour, linewidth=1.2)
    axes.set_xticks(sorted({100 * level for _, level in found}))
    axes.set(xlabel=said("load", language), ylabel=said("ms", language))
    axes.set_ylim(bottom=0)
    _finish(axes)


def ladder(axes: Axes, rows: Sequence[Row], language: Language) -> None:
    """What each lever adds, with the same people: the median of whole answers."""
    found = {arm: value for (arm, _), value in values(rows, RUNGS, "end to end p50").items()}
    _bars(axes, found, language)
    axes.set_xlabel(said("ms", language))


def living(axes: Axes, rows: Sequence[Row], language: Language) -> None:
    """The median of whole answers over the number of conversations that are alive."""
    found = values(rows, LIVING, "end to end p50")
    for arm in dict.fromkeys(arm for arm, _ in found):
        mine = sorted((level, value[0]) for (name, level), value in found.items() if name == arm)
        colour, dash, marker = STYLES.get(arm, _SPARE)
        label = word(arm, language, short=True)
        axes.plot(*zip(*mine, strict=True), color=colour, linestyle=dash, marker=marker, label=label)
    levels = sorted({level for _, level in found})
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:.0f}" for level in levels])
    axes.minorticks_off()
    axes.set(xlabel=said("living", language), ylabel=said("ms", language))
    axes.set_ylim(bottom=0)
    _finish(axes)


def whole_day(axes: Axes, rows: Sequence[Row], language: Language) -> None:
    """What every constant held all day, and the law, did of what the oracle does."""
    mine = [row for row in rows if (row.experiment, row.level) == (DAY, WHOLE_DAY)]
    found = {
        arm: value
        for (arm, _), value in values(mine, DAY, "share of the oracle").items()
        if arm not in {ORACLE, STOCK}
    }
    _bars(axes, dict(sorted(found.items(), key=lambda item: item[1][0])), language)
    axes.set_xlabel(said("share", language))


def through_the_day(axes: Axes, line: Timeline, language: Language, *, reasons: int = 12) -> None:
    """The limit and its reference over the law's day, with the phases and the first reasons in each."""
    at_s = list(line.at_s)
    for name, style in (("limit", "-"), ("reference", ":")):
        if name in line.values:
            heights = [math.nan if v is None else v for v in line.values[name]]
            colour = "#1f6fb4" if name == "limit" else "#777777"
            axes.plot(at_s, heights, style, color=colour, linewidth=1.2, label=said(name, language))
    number = 0
    for second, what in line.events:
        if what.startswith("phase "):
            number += 1
            axes.axvline(second, color="#dddddd", linewidth=0.8)
            axes.text(second, 1.0, at(DAY, float(number), language), fontsize=6, rotation=90, va="bottom")
    limits = [math.nan if v is None else v for v in line.values.get("limit", ())]
    moves = [event for event in line.events if not event[1].startswith("phase ")]
    step = max(1, len(moves) // reasons)
    for second, what in moves[::step]:
        height = float(np.interp(second, at_s, limits)) if at_s else 1.0
        axes.annotate(what.replace("_", " "), (second, height), fontsize=5.5, rotation=45)
    axes.set_yscale("log")
    axes.set(xlabel=said("seconds", language), ylabel=said("limit", language))
    _finish(axes)


def _bars(axes: Axes, found: dict[str, tuple[float, ...]], language: Language) -> None:
    """One bar a version from 0, with its interval; the first on top."""
    for number, (arm, (estimate, low, high)) in enumerate(reversed(found.items())):
        colour = STYLES.get(arm, _SPARE)[0]
        axes.barh(number, estimate, color="white", edgecolor=colour, hatch="//" if arm in {"v2", LAW} else "")
        if math.isfinite(low) and math.isfinite(high):
            axes.plot([low, high], [number, number], color="black", linewidth=1.4)
    names = [word(arm, language, short=True) for arm in reversed(found)]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlim(left=0)
    axes.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)


def _finish(axes: Axes, axis: str = "both") -> None:
    axes.grid(visible=True, axis=axis, color="#dddddd", linewidth=0.6)  # type: ignore[arg-type]  # a name
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(fontsize=7, frameon=False)
