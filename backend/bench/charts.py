"""Pictures from a result document alone. Arms differ by marker and dash, so it reads in grey.

Axes of latency start at 0 unless they are logarithmic and say so; every panel says its n and what is better.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.samples import Block, Outcome, Results, Timeline

STYLES: dict[str, tuple[str, str, str]] = {
    "v1": ("#222222", "--", "o"),
    "v1_tuned": ("#666666", "-.", "s"),
    "fixed": ("#888888", ":", "^"),
    "v2": ("#1f6fb4", "-", "D"),
    "naive": ("#b0b0b0", "-.", "x"),
    "v1_again": ("#888888", ":", "^"),
    "fluido": ("#1f6fb4", "-", "D"),
    "group_writer": ("#1f6fb4", "-", "D"),
    "lanes": ("#1f6fb4", "-", "D"),
}
"""Colour, dash and marker of each arm: dark to light is readable without colour."""

_SPARE = ("#444444", ":", "v")
_HATCH = {
    "v1": "",
    "v1_tuned": "//",
    "fixed": "..",
    "v2": "xx",
    "fluido": "xx",
    "group_writer": "xx",
    "lanes": "xx",
    "naive": "\\\\",
}


def distribution(axes: Axes, blocks: Mapping[str, Sequence[Block]], *, metric: str, title: str) -> None:
    """Share of requests answered within x seconds; failures and refusals keep a curve from reaching 1."""
    longest = 0.0
    for arm, found in blocks.items():
        latencies = np.sort([value for block in found for value in block.latencies(metric)])
        total = sum(len(block.samples) for block in found)
        if not len(latencies) or not total:
            continue
        longest = max(longest, float(np.quantile(latencies, 0.99)))
        colour, dash, _ = STYLES.get(arm, _SPARE)
        share = np.arange(1, len(latencies) + 1) / total
        axes.step(latencies, share, where="post", color=colour, linestyle=dash, label=f"{arm} (n={total})")
    axes.set(xlabel="seconds (left is better)", ylabel="share of requests", title=title, ylim=(0, 1.02))
    axes.set_xlim(0, longest * 1.05 or 1)
    _finish(axes)


def over_load(axes: Axes, rows: Sequence[Mapping[str, Any]], *, title: str, unit: str = "s") -> None:
    """Latency with its interval over load. Rows: arm, level, estimate, low, high, samples."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for arm in arms:
        mine = sorted((row for row in rows if row["arm"] == arm), key=lambda row: float(row["level"]))
        colour, dash, marker = STYLES.get(arm, _SPARE)
        levels = [float(row["level"]) * 100 for row in mine]
        middle = [_number(row["estimate"]) for row in mine]
        n = sum(int(row["samples"]) for row in mine)
        axes.plot(levels, middle, color=colour, linestyle=dash, marker=marker, label=f"{arm} (n={n})")
        lows, highs = [_number(row["low"]) for row in mine], [_number(row["high"]) for row in mine]
        axes.fill_between(levels, lows, highs, color=colour, alpha=0.15, linewidth=0)
    shown = unit if "better" in unit else f"{unit} (lower is better)"
    axes.set(xlabel="load, % of V1's capacity", ylabel=shown, title=title)
    axes.set_ylim(bottom=0)
    _finish(axes)


TICKS = tuple(factor * 10.0**power for power in range(-3, 5) for factor in (1, 2, 5))
"""Of a logarithmic axis, with the numbers of a ruler."""


def ratios(axes: Axes, rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """How many times better than V1, with intervals. Rows: name, ratio, low, high, verdict, blocks."""
    shown = list(reversed(rows))
    for at, row in enumerate(shown):
        ratio, low, high = (_number(row[key]) for key in ("ratio", "low", "high"))
        marker = "o" if row.get("verdict") != "undecided" else "$?$"
        axes.plot([ratio], [at], marker=marker, color="black", linestyle="none")
        if math.isfinite(low) and math.isfinite(high):
            axes.plot([low, high], [at, at], color="black", linewidth=1.5)
    axes.axvline(1, color="#888888", linewidth=1)
    axes.set_xscale("log")
    points = [_number(row["ratio"]) for row in shown]
    ends = [_number(row[key]) for row in shown for key in ("low", "high")]
    finite = [value for value in (*points, *ends) if math.isfinite(value)]
    # an interval may leave the picture, a point may not
    left = 0.8 * min([0.7, *(max(0.1, value) for value in finite), *(v for v in points if v > 0)])
    right = 1.25 * max([2.0, *(min(80.0, value) for value in finite), *(v for v in points if v < math.inf)])
    axes.set_xlim(left, right)
    ticks = [tick for tick in TICKS if left <= tick <= right]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    labels = [f"{row['name']} (n={row['blocks']} blocks)" for row in shown]
    axes.set_yticks(range(len(shown)), labels)
    axes.set(xlabel="times better than the control (log axis, right is better; ? = undecided)", title=title)
    axes.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)


def bars(axes: Axes, rows: Sequence[Mapping[str, Any]], *, title: str, unit: str) -> None:
    """One bar an arm from 0, with its interval. Rows: arm, estimate, low, high, samples."""
    for at, row in enumerate(rows):
        estimate, low, high = (_number(row[key]) for key in ("estimate", "low", "high"))
        colour = STYLES.get(row["arm"], _SPARE)[0]
        hatch = _HATCH.get(row["arm"], "--")
        axes.bar(at, estimate, color="white", edgecolor=colour, hatch=hatch, label=row["arm"])
        if math.isfinite(low) and math.isfinite(high):
            axes.plot([at, at], [low, high], color="black", linewidth=1.5)
    names = [f"{row['arm'].replace('_', chr(10))}\n{_count(row)}" for row in rows]
    axes.set_xticks(range(len(rows)), names, fontsize=8)
    axes.set(ylabel=unit)
    axes.set_title(title, fontsize=10)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", color="#dddddd", linewidth=0.6)


def over_time(
    axes: Axes, blocks: Mapping[str, Sequence[Block]], events: Sequence[Sequence[Any]], *, title: str
) -> None:
    """Median latency of the requests that were due in each second; what went unanswered is counted."""
    for arm, found in blocks.items():
        samples = [sample for block in found for sample in block.samples]
        answered = [sample for sample in samples if sample.outcome is Outcome.ANSWERED]
        seconds = sorted({int(sample.intended_s) for sample in answered})
        middle = [np.median([s.total_s for s in answered if int(s.intended_s) == at]) for at in seconds]
        colour, dash, marker = STYLES.get(arm, _SPARE)
        lost = len(samples) - len(answered)
        label = f"{arm} (n={len(samples)}, {lost} lost)"
        at_s = [at + 0.5 for at in seconds]
        axes.plot(at_s, middle, color=colour, linestyle=dash, marker=marker, markersize=3, label=label)
    _mark(axes, events)
    axes.set(xlabel="asked at, s", ylabel="end to end p50, s (lower is better)", title=title)
    axes.set_ylim(bottom=0)
    _finish(axes)


def laws(axes: Axes, lines: Sequence[Timeline], *, kind: str, title: str) -> None:
    """Limit, in use and waiting of one flow, of the first run; thin lines are the limits of the others."""
    shown = (("value", "limit", "-"), ("inflight", "in use", ":"), ("waiting", "waiting", "--"))
    for number, line in enumerate(lines):
        names = [name for name in line.values if name.startswith(f"{kind}.") and name.endswith(".value")]
        for what, label, dash in shown if number == 0 else shown[:1]:
            name = names[0].removesuffix("value") + what if names else ""
            if name not in line.values:
                continue
            values = [_number(value) for value in line.values[name]]
            colour, width = ("black", 1.4) if number == 0 else ("#aaaaaa", 0.8)
            shown_as = f"{label} (n={len(values)})" if number == 0 else None
            axes.step(
                line.at_s, values, where="post", linestyle=dash, color=colour, linewidth=width, label=shown_as
            )
    if lines:
        _mark(axes, lines[0].events)
    axes.set(xlabel="s (neither way is better: these are the decisions)", ylabel="requests", title=title)
    axes.set_ylim(bottom=0)
    _finish(axes)


def _mark(axes: Axes, events: Sequence[Sequence[Any]]) -> None:
    for at_s, what in events:
        axes.axvline(float(at_s), color="#888888", linewidth=1)
        axes.annotate(
            str(what),
            (float(at_s), 1.0),
            xycoords=("data", "axes fraction"),
            rotation=90,
            va="top",
            fontsize=7,
        )


def sheet(results: Results, rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The overview of one run: ratios on top, one row of distributions for each experiment below."""
    mpl.use("Agg")
    pairs = list(dict.fromkeys((b.experiment, b.level) for b in results.blocks if not b.warm_up))
    claims = [row for row in rows if _number(row.get("ratio")) > 0]
    heights = [1.0 + 0.3 * len(claims), *(3.0 for _ in pairs)]
    figure = Figure(figsize=(11, sum(heights) + 0.5), layout="constrained")
    strips = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    ratios(strips[0].add_subplot(), claims, title="Against V1, 95 % intervals")
    for strip, (experiment, level) in zip(strips[1:], pairs, strict=True):
        arms = sorted({block.arm for block in results.blocks if block.experiment == experiment})
        blocks = {arm: results.select(experiment, arm, level) for arm in arms}
        timed = any(sample.first_s is not None for b in blocks.values() for x in b for sample in x.samples)
        name = experiment.replace("_", " ") + (f" at {level:.0%} of V1's capacity" if timed else "")
        axes = strip.subplots(1, 2 if timed else 1, squeeze=False)[0]
        if timed:
            distribution(axes[0], blocks, metric="ttft_s", title=f"{name}: first token")
        distribution(axes[-1], blocks, metric="total_s", title=f"{name}: end to end" if timed else name)
    commit = str(results.environment.get("commit", ""))[:12] or "unknown commit"
    state = "" if results.complete else " - INCOMPLETE RUN"
    figure.suptitle(f"Sentinel: V1 and V2 ({commit}, {results.environment.get('cores')} cores){state}")
    figure.savefig(path, dpi=110)


def _count(row: Mapping[str, Any]) -> str:
    """Requests, or blocks where each gives one number."""
    is_blocks = row.get("blocks") == row["samples"]
    return f"n={row['samples']}" + (" blocks" if is_blocks else "")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _finish(axes: Axes) -> None:
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
