"""From blocks to a table, a file and a picture."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from bench.environment import Environment
from bench.redis.contenders import BLOCKING, COREDIS, DEFAULT, GLIDE, NAMES, OURS, PIPELINES
from bench.statistics import Mean, compare
from fluido.redis.benchmark import Block

SEED = 1
# A metric of a block, and whether less is better.
METRICS: dict[str, tuple[Callable[[Block], float], bool]] = {
    "calls_per_s": (lambda block: block.rate, False),
    "p50_ms": (lambda block: block.latency_s(0.5) * 1e3, True),
    "p99_ms": (lambda block: block.latency_s(0.99) * 1e3, True),
    "cpu_us": (lambda block: block.cpu_us, True),
}
STYLE = {
    OURS: ("#0b6e4f", "o"),
    DEFAULT: ("#c8553d", "s"),
    BLOCKING: ("#e09f3e", "P"),
    PIPELINES: ("#7768ae", "^"),
    GLIDE: ("#3d5a80", "D"),
    COREDIS: ("#999999", "v"),
}


def rows(blocks: Mapping[str, Mapping[str, Sequence[Block]]]) -> list[dict[str, Any]]:
    """A row a cell and contender: every metric as the mean of its blocks, and how much better ours is."""
    found: list[dict[str, Any]] = []
    for cell, arms in blocks.items():
        for name, mine in arms.items():
            row: dict[str, Any] = {"cell": cell, "client": name, "blocks": len(mine)}
            for metric, (measure, less) in METRICS.items():
                theirs = [measure(block) for block in mine]
                row[metric] = fmean(theirs)
                if name != OURS and OURS in arms:
                    ours = [[measure(block)] for block in arms[OURS]]
                    ratio = compare([[x] for x in theirs], ours, Mean(), seed=SEED, lower_is_better=less)
                    row[f"{metric}_ratio"] = [ratio.ratio, ratio.low, ratio.high]
            found.append(row)
    return found


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """For people: how many times more calls, and less p99 and CPU, ours does than each of the others."""
    head = f"{'cell':<28}{'client':<30}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>8}"
    lines = [head + f"{'ours: calls/s':>22}{'p99':>22}{'CPU':>22}"]
    last = ""
    for row in found:
        cell = row["cell"] if row["cell"] != last else ""
        last = row["cell"]
        ratios = [_ratio(row.get(f"{metric}_ratio")) for metric in ("calls_per_s", "p99_ms", "cpu_us")]
        lines.append(
            f"{cell:<28}{row['client']:<30}{row['calls_per_s']:>10,.0f}{row['p50_ms']:>9.2f}"
            f"{row['p99_ms']:>9.2f}{row['cpu_us']:>8.1f}{ratios[0]:>22}{ratios[1]:>22}{ratios[2]:>22}"
        )
    return "\n".join(lines)


def _ratio(found: Sequence[float] | None) -> str:
    if found is None:
        return ""
    ratio, low, high = found
    return f"{ratio:.2f}x" if math.isnan(low) else f"{ratio:.2f}x [{low:.2f}, {high:.2f}]"


def write(found: Sequence[Mapping[str, Any]], environment: Environment, path: Path, *, command: str) -> None:
    """Everything as JSON, without the single latencies."""
    document = {"command": command, "environment": asdict(environment), "rows": found}
    path.write_text(json.dumps(document, indent=1) + "\n")


def picture(found: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Calls a second and CPU a call over the number of callers, GET 64 B, log axes."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    loads = {f"GET 64 B, {tasks} tasks": tasks for tasks in (1, 16, 64, 256, 1024)}
    for axis, metric, label in zip(
        axes, ("calls_per_s", "cpu_us"), ("calls a second", "CPU a call, us"), strict=True
    ):
        for name in NAMES:
            points = [
                (loads[row["cell"]], row[metric])
                for row in found
                if row["client"] == name and row["cell"] in loads
            ]
            if points:
                colour, mark = STYLE[name]
                width = 2.2 if name == OURS else 1.2
                axis.plot(*zip(*points, strict=True), color=colour, marker=mark, linewidth=width, label=name)
        axis.set(xscale="log", yscale="log", xlabel="tasks", ylabel=label)
        axis.set_xticks(list(loads.values()), [str(tasks) for tasks in loads.values()])
        axis.minorticks_off()
        axis.grid(color="#dddddd", linewidth=0.6)
    axes[0].set_title("GET of 64 bytes (higher is better)")
    axes[1].set_title("its price (lower is better)")
    axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)
