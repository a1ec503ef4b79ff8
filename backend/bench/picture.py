"""The overview of one run: what evidence needs to be seen, one panel a question, from the document alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.catalogue import (
    EXPERIMENTS,
    FAIRNESS,
    LEVERS,
    POSTGRESQL_INSERTS,
    POSTGRESQL_LANES,
    POSTGRESQL_WAITING,
    REDIS_GET,
    REDIS_SERVICE,
    STEP,
)
from bench.charts import bars, distribution, laws, over_load, over_time, ratios
from bench.samples import Results
from bench.workloads import NEW, RETURNING, SINGLE

Row = Mapping[str, Any]
WORSE, BETTER = "lower is better", "higher is better"
_ORDER = ("v1", "v1_tuned", "naive", "append", "append_pins", "fixed", "v2")
_WIDE_IN, _HIGH_IN = 13.0, 3.1


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: how it is drawn, once it is known where."""

    draw: Callable[[Axes], None]
    has_data: bool = True


def overview(results: Results, rows: Sequence[Row], path: Path) -> None:
    """Ratios on top, then a strip for each question that the run asked."""
    mpl.use("Agg")
    headline = [row for row in rows if row["family"] == "headline" and _known(row["ratio"])]
    strips = _strips(results, rows)
    heights = [1.1 + 0.28 * len(headline), *(_HIGH_IN for _ in strips)]
    figure = Figure(figsize=(_WIDE_IN, sum(heights) + 0.5), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    named = [{**row, "name": _headline(row)} for row in headline]
    ratios(parts[0].add_subplot(), named, title="How many times better, 95 % intervals")
    for part, strip in zip(parts[1:], strips, strict=True):
        for axes, panel in zip(part.subplots(1, len(strip), squeeze=False)[0], strip, strict=True):
            panel.draw(axes)
    machine = results.environment
    commit = str(machine.get("commit", ""))[:12] or "unknown commit"
    state = "" if results.complete else " - INCOMPLETE RUN"
    figure.suptitle(f"Sentinel: static and dynamic buffers ({commit}, {machine.get('cores')} cores){state}")
    figure.savefig(path, dpi=100)


def values(
    rows: Sequence[Row], experiment: str, measure: str, level: float | None = None
) -> list[dict[str, Any]]:
    """Every arm's own value with its interval: arm, level, estimate, low, high, samples, unit."""
    found: dict[tuple[str, float], dict[str, Any]] = {}
    for row in rows:
        at = float(row["level"])
        if row["experiment"] != experiment or row["measure"] != measure:
            continue
        if level is not None and not math.isclose(at, level):
            continue
        for side in ("control", "treatment"):
            found[row[side], at] = {
                "arm": row[side],
                "level": at,
                "estimate": row[f"{side}_value"],
                "low": row[f"{side}_low"],
                "high": row[f"{side}_high"],
                "samples": row[f"{side}_samples"],
                "blocks": row["blocks"],
                "unit": row["unit"],
            }
    return sorted(found.values(), key=lambda row: (_place(row["arm"]), row["level"]))


def _strips(results: Results, rows: Sequence[Row]) -> list[list[Panel]]:
    ladder = ("end to end p50", "end to end p99")
    wanted = [
        _over_load(rows),
        *(_distributions(results, workload) for workload in (RETURNING, NEW, SINGLE)),
        [
            *(_bars(rows, RETURNING, m, level, WORSE) for level in (0.9, 1.2) for m in ladder[:1]),
            *(_bars(rows, LEVERS, measure, None, WORSE) for measure in ("first token p50", "end to end p50")),
        ],
        _step(results),
        [
            _bars(rows, FAIRNESS, "end to end longest", None, WORSE),
            _bars(rows, FAIRNESS, "fairness (Jain)", None, BETTER),
            _bars(rows, POSTGRESQL_WAITING, "longest wait", None, WORSE),
        ],
        [
            _bars(rows, POSTGRESQL_WAITING, "wait p99", None, WORSE),
            _bars(rows, POSTGRESQL_INSERTS, "rows", None, BETTER),
            _bars(rows, POSTGRESQL_LANES, "short query p99", None, WORSE),
        ],
        [
            _bars(rows, REDIS_GET, "calls", None, BETTER),
            _bars(rows, REDIS_SERVICE, "calls", None, BETTER),
            _bars(rows, REDIS_SERVICE, "CPU a call", None, WORSE),
        ],
    ]
    return [strip for strip in wanted if any(panel.has_data for panel in strip)]


def _over_load(rows: Sequence[Row]) -> list[Panel]:
    panels = []
    for measure, better in (("first token p50", WORSE), ("end to end p50", WORSE), ("goodput", BETTER)):
        found = values(rows, RETURNING, measure)
        if len({row["level"] for row in found}) > 1:
            unit = f"{found[0]['unit']} ({better})"

            def draw(
                axes: Axes, found: list[dict[str, Any]] = found, unit: str = unit, name: str = measure
            ) -> None:
                over_load(axes, found, title=f"returning users: {name}", unit=unit)

            panels.append(Panel(draw))
    return panels


def _distributions(results: Results, workload: str) -> list[Panel]:
    levels = sorted({b.level for b in results.blocks if b.experiment == workload and not b.warm_up})
    if not levels:
        return []
    level = 0.9 if 0.9 in levels else levels[0]
    arms = sorted(
        {b.arm for b in results.blocks if b.experiment == workload and b.level == level}, key=_place
    )
    blocks = {arm: results.select(workload, arm, level) for arm in arms}
    name = f"{workload.replace('_', ' ')} at {level:.0%}"
    metrics = (("ttft_s", "first token"), ("total_s", "end to end"))

    def panel(metric: str, what: str) -> Panel:
        return Panel(lambda axes: distribution(axes, blocks, metric=metric, title=f"{name}: {what}"))

    return [panel(metric, what) for metric, what in metrics]


def _bars(rows: Sequence[Row], experiment: str, measure: str, level: float | None, better: str) -> Panel:
    at = "" if level is None else f" at {level:.0%}"
    title = f"{experiment.replace('_', ' ')}{at}: {measure}"
    found = values(rows, experiment, measure, level)
    return Panel(lambda axes: _draw_bars(axes, found, title, better), bool(found))


def _draw_bars(axes: Axes, found: Sequence[dict[str, Any]], title: str, better: str) -> None:
    """An empty panel says that nothing was measured: a gap must not look like a zero."""
    if not found:
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"{title}\nnot in this run", ha="center", va="center", color="#666666")
        return
    bars(axes, found, title=title, unit=f"{found[0]['unit']} ({better})".strip())


def _step(results: Results) -> list[Panel]:
    blocks = {arm: results.select(STEP, arm) for arm in ("v1", "v2")}
    lines = [line for line in results.timelines if line.experiment == STEP and line.arm == "v2"]
    if not lines or not all(blocks.values()):
        return []
    events = lines[0].events

    def limits(axes: Axes) -> None:
        laws(axes, lines, kind="llm_inference", title="V2 in that step: engine")

    return [
        Panel(lambda axes: over_time(axes, blocks, events, title=EXPERIMENTS[STEP].title)),
        Panel(limits),
        Panel(lambda axes: laws(axes, lines, kind="database_query", title="V2 in that step: PostgreSQL")),
    ]


def _headline(row: Row) -> str:
    at = f" at {row['level']:.0%}" if EXPERIMENTS[row["experiment"]].room == "chat" else ""
    return (
        f"{row['experiment'].replace('_', ' ')}{at}: {row['measure']}, {row['control']} to {row['treatment']}"
    )


def _place(arm: str) -> int:
    return _ORDER.index(arm) if arm in _ORDER else len(_ORDER)


def _known(value: object) -> bool:
    return isinstance(value, int | float) and np.isfinite(value) and value > 0
