"""Tables and pictures of a run."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.environment import Environment
from bench.postgres.record import Measured


def save(path: Path, environment: Environment, measured: Sequence[Measured], *, command: str) -> None:
    """All blocks and the machine, as JSON."""
    document: dict[str, Any] = {
        "command": command,
        "environment": asdict(environment),
        "measured": [asdict(row) for row in measured],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def table(measured: Sequence[Measured]) -> str:
    """Markdown: a table an experiment, an arm a row, a metric a column: median of blocks (least..most)."""
    lines: list[str] = []
    for experiment in dict.fromkeys(row.experiment for row in measured):
        rows = [row for row in measured if row.experiment == experiment]
        metrics = list(dict.fromkeys(row.metric for row in rows))
        lines += [
            "",
            f"**{experiment}**",
            "",
            f"| | {' | '.join(metrics)} |",
            "|---" * (len(metrics) + 1) + "|",
        ]
        for arm in dict.fromkeys(row.arm for row in rows):
            cells = {row.metric: _cell(row) for row in rows if row.arm == arm}
            lines.append(f"| {arm} | {' | '.join(cells.get(metric, '') for metric in metrics)} |")
    return "\n".join(lines[1:])


def picture(path: Path, measured: Sequence[Measured], *, title: str) -> None:
    """One panel an experiment: the metric that matters most in it, arms side by side, all blocks as dots."""
    mpl.use("Agg")
    chosen: list[list[Measured]] = []
    for experiment in dict.fromkeys(row.experiment for row in measured):
        rows = [row for row in measured if row.experiment == experiment]
        metric = next(
            (m for m in ("wait p99 ms", "mean ms", "rows/s") if any(r.metric == m for r in rows)), ""
        )
        if experiment.startswith("light"):
            metric = "p99 ms"
        elif experiment.startswith("inserts"):
            metric = "rows/s"
        chosen.append([row for row in rows if row.metric == (metric or rows[0].metric)])
    columns = 3
    height = (len(chosen) + columns - 1) // columns
    figure = Figure(figsize=(13, 3.4 * height), layout="constrained")
    axes = figure.subplots(height, columns, squeeze=False).ravel()
    for panel, rows in zip(axes, chosen, strict=False):
        for at, row in enumerate(rows):
            ours = row.arm.startswith(("fluido", "GroupWriter", "RowStreams", "lanes"))
            panel.bar(at, row.estimate, color="#4477aa" if ours else "#cccccc")
            panel.plot([at] * len(row.blocks), [sum(b) / len(b) for b in row.blocks], "k.", markersize=3)
        panel.set_xticks(range(len(rows)), [row.arm for row in rows], rotation=25, ha="right", fontsize=8)
        panel.set(title=rows[0].experiment, ylabel=rows[0].metric, ylim=(0, None))
    for panel in axes[len(chosen) :]:
        panel.set_axis_off()
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _cell(row: Measured) -> str:
    low, high = row.spread
    estimate = _number(row.estimate)
    return estimate if len(row.blocks) == 1 else f"{estimate} ({_number(low)}..{_number(high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
