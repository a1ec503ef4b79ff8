"""Tables and pictures of a run."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.environment import Environment
from bench.postgres.ratios import OURS, Ratio, ratios
from bench.postgres.record import Measured

COLUMNS = 3
# What one looks at first: the metric of a panel is the first of these that its experiment has.
SHOWN = ("wait p99 ms", "mean ms", "rows/s", "p50 us", "calls/s")
SHOWN_OF = {
    "light calls beside reports": "p99 ms",
    "inserts, 256 tasks": "rows/s",
    "inserts, 1 tasks": "rows/s",
}


def save(path: Path, environment: Environment, measured: Sequence[Measured], *, command: str) -> None:
    """All blocks, the ratios and the machine, as JSON."""
    document: dict[str, Any] = {
        "command": command,
        "environment": asdict(environment),
        "measured": [asdict(row) for row in measured],
        "ratios": [{name: _plain(value) for name, value in asdict(row).items()} for row in ratios(measured)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def text(environment: Environment, measured: Sequence[Measured], *, command: str) -> str:
    """Everything as Markdown, with what it was measured on."""
    state = " with local changes" if environment.dirty else ""
    return "\n".join(
        [
            f"`{command}` at commit {environment.commit[:12] or 'unknown'}{state}, {environment.started_at}.",
            f"{environment.cpu}, {environment.cores} cores; {environment.python}; {environment.system}.",
            "Means of interleaved blocks, 95 % intervals; a ratio above 1 is in favour of fluido's arm.",
            "",
            table(measured),
            "",
            "**ratios**",
            "",
            *_ratio_table(ratios(measured)),
            "",
        ]
    )


def table(measured: Sequence[Measured]) -> str:
    """Markdown: a table an experiment, an arm a row, a metric a column: mean of blocks (95 % interval)."""
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


def _ratio_table(rows: Sequence[Ratio]) -> list[str]:
    lines = ["| experiment | metric | against | arm | times better | promised | |", "|---" * 7 + "|"]
    for row in rows:
        if row.line is None:
            continue  # in the JSON
        times = f"{row.ratio:.2f}"
        if math.isfinite(row.low):
            times += f" ({row.low:.2f}..{row.high:.2f})"
        cells = (row.experiment, row.metric, row.control, row.arm, times, f"{row.line:.3g}", row.verdict)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def picture(path: Path, measured: Sequence[Measured], *, title: str) -> None:
    """One panel an experiment: the metric that matters most in it, arms side by side, all blocks as dots."""
    mpl.use("Agg")
    experiments = list(dict.fromkeys(row.experiment for row in measured))
    height = (len(experiments) + COLUMNS - 1) // COLUMNS
    figure = Figure(figsize=(13, 3.4 * height), layout="constrained")
    axes = figure.subplots(height, COLUMNS, squeeze=False).ravel()
    for panel, experiment in zip(axes, experiments, strict=False):
        _panel(panel, [row for row in measured if row.experiment == experiment])
    for panel in axes[len(experiments) :]:
        panel.set_axis_off()
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _panel(panel: Axes, rows: Sequence[Measured]) -> None:
    metrics = [row.metric for row in rows]
    usual = next((metric for metric in SHOWN if metric in metrics), metrics[0])
    metric = SHOWN_OF.get(rows[0].experiment, usual)
    shown = [row for row in rows if row.metric == metric]
    for at, row in enumerate(shown):
        found = row.summary()
        panel.bar(at, found.estimate, color="#4477aa" if row.arm.startswith(OURS) else "#cccccc")
        if math.isfinite(found.low):
            panel.plot([at, at], [max(0.0, found.low), found.high], color="black", linewidth=1.2)
        panel.plot([at] * len(row.blocks), [sum(b) / len(b) for b in row.blocks], "k.", markersize=3)
    panel.set_xticks(range(len(shown)), [row.arm for row in shown], rotation=25, ha="right", fontsize=8)
    better = "lower" if shown[0].lower_is_better else "higher"
    panel.set(title=rows[0].experiment, ylabel=f"{metric} ({better} is better)", ylim=(0, None))


def _cell(row: Measured) -> str:
    found = row.summary()
    estimate = _number(found.estimate)
    return (
        f"{estimate} ({_number(found.low)}..{_number(found.high)})" if math.isfinite(found.low) else estimate
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _plain(value: object) -> object:
    """JSON knows no nan."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
