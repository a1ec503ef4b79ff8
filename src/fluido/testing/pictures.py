"""Limit, throughput and latency over time: one picture a scenario."""

from collections.abc import Sequence
from pathlib import Path

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
