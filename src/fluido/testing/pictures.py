"""Limit, throughput and latency over time: one picture a scenario."""

from collections.abc import Sequence
from pathlib import Path

from fluido.testing.day import NAMES, STOCK, Day
from fluido.testing.figures import Span
from fluido.testing.runner import Played
from fluido.testing.trace import BIN_S


def draw(runs: Sequence[Played], folder: Path) -> Path | None:
    """A PNG of the first seed, with the best static limit beside it; None when no run kept its trace."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  an extra: only who draws needs it
    from matplotlib.figure import Figure  # noqa: PLC0415

    run = next((run for run in runs if run.trace is not None), None)
    if run is None or run.trace is None:
        return None
    trace, scenario = run.trace, run.scenario
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    times = [(index + 1) * BIN_S for index in range(len(trace.limits))]
    for position in range(len(trace.limits[0])):
        top.plot(times, [limits[position] for limits in trace.limits], linewidth=0.9)
    bins = trace.bins[: len(times)]
    middle.plot(times, [(b.completed + b.foreign) / BIN_S for b in bins], color="tab:blue", linewidth=0.9)
    bottom.plot(
        times, [1e3 * b.service_s / max(1, b.completed) for b in bins], color="tab:red", linewidth=0.9
    )
    replicas = len(trace.limits[0])
    for index, phase in enumerate(scenario.phases):
        if phase.at_s >= times[-1]:
            continue
        if index:
            for axes in (top, middle, bottom):
                axes.axvline(phase.at_s, color="0.7", linewidth=0.8)
        if phase.measure:
            span = Span(scenario, trace, index, times[-1])
            reach = (phase.at_s, phase.at_s + len(span.bins) * BIN_S)
            for axes, value in (
                (top, span.best_limit / replicas),
                (middle, span.best_rate),
                (bottom, 1e3 * span.best_latency_s),
            ):
                axes.hlines(value, *reach, color="black", linestyle="--", linewidth=1.0, label="best static")
    top.set_ylabel("limit")
    middle.set_ylabel("calls / s")
    bottom.set_ylabel("service time, ms")
    bottom.set_yscale("log")
    bottom.set_xlabel("simulated seconds")
    top.set_title(f"{scenario.name}: {scenario.text}", fontsize=9, wrap=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{scenario.name}.png"
    figure.savefig(path, dpi=90)
    return path


def draw_day(day: Day, folder: Path) -> Path | None:
    """A PNG: the limit of the law over the day, with its reference; below, the share of the oracle by arm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  an extra: only who draws needs it
    from matplotlib.figure import Figure  # noqa: PLC0415

    course = next((course for course in day.law if course.trace is not None), None)
    if course is None or course.trace is None:
        return None
    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1)
    limits = [sum(row) for row in course.trace.limits]
    top.plot([(index + 1) * BIN_S for index in range(len(limits))], limits, linewidth=0.8, label="the law")
    top.axhline(STOCK, color="black", linestyle="--", linewidth=1.0, label="reference: the stock size")
    phase_s = len(limits) * BIN_S / len(NAMES)
    for index, name in enumerate(NAMES):
        top.axvline(index * phase_s, color="0.8", linewidth=0.8)
        top.text(index * phase_s, 0.8, f" {name}", fontsize=8, va="bottom")
    top.set_yscale("log")
    top.set_ylabel("limit")
    top.set_xlabel("simulated seconds")
    top.legend(loc="upper left")
    for constant, held in day.constants.items():
        bottom.plot(NAMES, day.shares(held), marker=".", linewidth=0.8, label=f"{constant} all day")
    bottom.plot(NAMES, day.shares(course), marker="o", color="black", linewidth=2.0, label="the law")
    bottom.set_ylabel("calls done, share of the oracle")
    bottom.tick_params(axis="x", labelrotation=20)
    bottom.legend(fontsize=7, ncols=2, loc="lower left")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "day.png"
    figure.savefig(path, dpi=90)
    return path
