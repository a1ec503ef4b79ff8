"""The grid of slots and live conversations: V1's window, append-only and ours at every point."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench import environment
from bench.llm.arms import Levers
from bench.llm.comparison import Cell, Size, residency_cell
from bench.llm.stage import Kitchen

GRID_ARMS = (
    Levers("window", history="window", limit=100, cold_cut=False),
    Levers("append", limit=100, cold_cut=False),
    Levers("v2"),
)


def quantile(values: Sequence[float], q: float) -> float:
    """Of unsorted values; nan of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


async def grid(
    kitchen: Kitchen,
    slots: Sequence[int],
    conversations: Sequence[int],
    *,
    turns: int,
    size: Size,
    say: Callable[[str], None],
) -> list[Cell]:
    """Every point, one after the other."""
    cells: list[Cell] = []
    say("slots talks  " + "  ".join(f"{arm.name:>14}" for arm in GRID_ARMS) + "   (E2E p50 / p95 s)")
    for count in slots:
        for talks in conversations:
            cut = replace(kitchen, slots=count)
            found = await residency_cell(cut, talks, GRID_ARMS, turns=turns, size=size)
            cells += found
            shown = [f"{quantile(c.total_s, 0.5):6.2f} /{quantile(c.total_s, 0.95):6.2f}" for c in found]
            say(f"{count:5} {talks:5}  " + "  ".join(f"{text:>14}" for text in shown))
    return cells


def save(cells: Sequence[Cell], kitchen: Kitchen, path: Path) -> None:
    """JSON with every latency, and the picture beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "environment": asdict(environment.describe(())),
        "kitchen": asdict(kitchen),
        "cells": [
            asdict(cell)
            | {f"{name}_p{q}": quantile(getattr(cell, name), q / 100) for name in TIMES for q in (50, 95)}
            for cell in cells
        ],
    }
    path.write_text(json.dumps(document, indent=1))
    picture(cells, path.with_suffix(".png"))


TIMES = ("total_s", "ttft_s")


def picture(cells: Sequence[Cell], path: Path) -> None:
    """End to end over live conversations, one panel per number of slots."""
    mpl.use("Agg")
    slots = sorted({cell.slots for cell in cells})
    figure = Figure(figsize=(4 * len(slots), 3.4), layout="constrained")
    for at, count in enumerate(slots, start=1):
        axes = figure.add_subplot(1, len(slots), at)
        for arm, dash in zip(("window", "append", "v2"), (":", "--", "-"), strict=True):
            mine = [c for c in cells if (c.slots, c.arm) == (count, arm)]
            talks = [c.conversations for c in mine]
            axes.plot(talks, [quantile(c.total_s, 0.5) for c in mine], dash, color="black", label=arm)
            axes.plot(talks, [quantile(c.total_s, 0.95) for c in mine], dash, color="#999999")
        axes.set(title=f"{count} slots", xlabel="live conversations", ylabel="s end to end: p50, p95 grey")
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.savefig(path, dpi=110)
