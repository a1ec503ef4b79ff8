"""Latency over time, with the faults marked."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from bench.faults.people import Try
from bench.faults.windows import Window


def draw(path: Path, tries: Sequence[Try], windows: Sequence[Window], *, title: str) -> None:
    """One dot for each request at the time it was sent; failed ones are crosses. Logarithmic seconds."""
    figure = Figure(figsize=(14, 6), layout="constrained")
    axes = figure.subplots()
    good = [one for one in tries if not one.error]
    bad = [one for one in tries if one.error]
    axes.scatter(
        [one.at_s for one in good],
        [one.took_s for one in good],
        s=7,
        color="#1f5fa8",
        alpha=0.6,
        label=f"answered ({len(good)})",
    )
    axes.scatter(
        [one.at_s for one in bad],
        [max(one.took_s, 1e-3) for one in bad],
        s=22,
        marker="x",
        linewidths=1,
        color="#c0392b",
        label=f"failed, then asked again ({len(bad)})",
    )
    axes.set_yscale("log")
    top = max((one.took_s for one in tries), default=1.0) * 1.5
    bottom = max(1e-3, min((one.took_s for one in tries), default=1e-3) * 0.7)
    # the names of the faults take the upper third
    axes.set_ylim(bottom, top * (top / bottom) ** 0.5)
    for window in windows:
        axes.axvspan(
            window.began_s, max(window.healed_s, window.began_s + 0.3), color="#e67e22", alpha=0.25, lw=0
        )
        axes.axvline(window.began_s, color="#e67e22", lw=1)
        axes.annotate(
            window.name,
            (window.began_s, top * 1.1),
            rotation=90,
            fontsize=8,
            ha="left",
            va="bottom",
        )
    axes.set_xlabel("seconds of the run")
    axes.set_ylabel("seconds from request to last word")
    axes.set_title(title, fontsize=11)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)
