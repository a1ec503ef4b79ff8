"""What the laws said while something changed: their values over time, and when it happened."""

import math
from collections.abc import Mapping
from typing import Any

from bench.report import spanish
from bench.report.ledger import Ledger
from bench.report.page import Page
from bench.report.sources import Material, Source

VALUE = ".value"
"""What a law decided; the counts beside it (in flight, waiting) follow from the load."""


def section(page: Page, material: Material, ledger: Ledger) -> None:
    page.head("Valores de las leyes durante un cambio")
    found = material.main.at(("timelines",))
    lines: list[list[str]] = []
    for at, timeline in enumerate(found if isinstance(found, list) else []):
        lines += _lines(material.main, at, timeline, ledger)
    if not lines:
        page.say("No medido en esta corrida.")
        return
    page.say(
        "Cada fila es un buffer en una ronda: qué valor tenía al empezar, entre cuáles se movió y al final."
    )
    page.table(
        ("escena", "brazo", "ronda", "buffer", "al empezar", "mínimo", "máximo", "al final", "origen"), lines
    )


def _lines(main: Source, at: int, timeline: Mapping[str, Any], ledger: Ledger) -> list[list[str]]:
    made = []
    for name, values in timeline.get("values", {}).items():
        known = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
        if not known or not name.endswith(VALUE):
            continue
        inputs = [(main, ("timelines", at, "values", name))]
        made.append(
            [
                spanish.experiment(str(timeline.get("experiment"))),
                spanish.arm(str(timeline.get("arm"))),
                ledger.cite(main, ("timelines", at, "round"), "count"),
                f"`{name}`",
                ledger.derive(known[0], "value", "primer valor", inputs),
                ledger.derive(min(known), "value", "mínimo", inputs),
                ledger.derive(max(known), "value", "máximo", inputs),
                ledger.derive(known[-1], "value", "último valor", inputs),
                f"{main.letter}, timelines[{at}]",
            ]
        )
    return made
