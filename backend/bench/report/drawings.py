"""Two drawings for the slides: the idea, and how it was measured."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from bench.report.study import Study

BLUE, DARK, PALE, GREY = "#1f6fb4", "#222222", "#e8f0f8", "#eeeeee"


def _empty() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.4, 4.9), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, 10), ylim=(0, 6.6))
    axes.axis("off")
    return figure, axes


def _box(
    axes: Axes,
    at: tuple[float, float],
    size: tuple[float, float],
    text: str,
    *,
    colour: str = PALE,
    bold: bool = False,
) -> None:
    axes.add_patch(
        FancyBboxPatch(at, *size, boxstyle="round,pad=0.05", facecolor=colour, edgecolor=DARK, linewidth=1.3)
    )
    weight = "bold" if bold else "normal"
    axes.text(
        at[0] + size[0] / 2, at[1] + size[1] / 2, text, ha="center", va="center", fontsize=12, weight=weight
    )


def _arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    text: str = "",
    shift: tuple[float, float] = (0, 0),
) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": DARK, "linewidth": 1.6})
    if text:
        middle = ((start[0] + end[0]) / 2 + shift[0], (start[1] + end[1]) / 2 + shift[1])
        axes.text(*middle, text, ha="center", va="center", fontsize=12, color=BLUE)


def idea(_: Study) -> Figure:
    """Queue, law, reason."""
    figure, axes = _empty()
    _box(axes, (0.2, 1.2), (2.2, 1.5), "personas", colour=GREY)
    _box(axes, (3.9, 1.2), (2.2, 1.5), "cola con\nlímite")
    _box(axes, (7.6, 1.2), (2.2, 1.5), "modelo, base\nde datos o Redis", colour=GREY)
    _box(axes, (3.9, 4.5), (2.2, 1.5), "la ley", bold=True)
    _arrow(axes, (2.5, 1.95), (3.8, 1.95))
    _arrow(axes, (6.2, 1.95), (7.5, 1.95))
    _arrow(axes, (8.6, 2.8), (6.2, 5.2), "lo medido", (1.0, 0.35))
    _arrow(axes, (5.0, 4.4), (5.0, 2.8), "límite nuevo", (1.0, 0.0))
    _arrow(axes, (3.8, 5.2), (2.3, 5.2))
    _box(axes, (0.2, 4.5), (2.0, 1.5), "la razón,\nescrita")
    axes.text(5, 0.5, "se parte del límite que el usuario ya tenía", ha="center", fontsize=12, color=DARK)
    return figure


def method(_: Study) -> Figure:
    """Two versions side by side, taking turns."""
    figure, axes = _empty()
    _box(axes, (2.6, 5.2), (4.8, 1.1), "las mismas personas,\nlas mismas preguntas", colour=GREY)
    for left, name, what, colour in (
        (0.3, "V1", "límites fijos", GREY),
        (5.5, "V2", "buffers dinámicos", PALE),
    ):
        _box(axes, (left, 3.0), (4.2, 1.2), f"{name}: {what}", colour=colour, bold=True)
        _box(axes, (left, 1.4), (4.2, 1.1), "su PostgreSQL, su Redis,\nsu motor", colour="#ffffff")
        _arrow(axes, (5.0, 5.1), (left + 2.1, 4.3))
        _arrow(axes, (left + 2.1, 2.9), (left + 2.1, 2.6))
    axes.text(5.0, 3.6, "por\nturnos", ha="center", va="center", fontsize=12, color=BLUE)
    axes.text(
        5.0, 0.6, "una ronda = procesos nuevos, historias nuevas, orden sorteado", ha="center", fontsize=12
    )
    return figure


DRAWINGS = {
    "idea": ("La idea: la cola mide, la ley decide con una razón, la cola obedece", idea),
    "method": ("Cómo se midió: dos versiones por turnos con servidores propios", method),
}
