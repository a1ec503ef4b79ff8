"""`python -m bench agree A.json B.json`: the verdicts of two runs beside each other."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.agreement import Agreement, Identity, Pair, agreement, differences
from bench.catalogue import scene
from bench.report.errors import ReportError
from bench.report.sources import gather
from bench.table import narrow

DIFFER, UNREADABLE = 1, 2
_SIGNS = {"better": "better", "worse": "WORSE", "undecided": "undecided"}


def agree(
    first: Annotated[Path, typer.Argument(help="Result of a run (JSON).")],
    second: Annotated[Path, typer.Argument(help="Result of another run of the same.")],
    *,
    differing: Annotated[bool, typer.Option("--differing", help="Only the verdicts that differ.")] = False,
) -> None:
    """Compare two runs verdict by verdict. Status 0: all the same; 1: not; 2: a file cannot be used."""
    console = Console()
    try:
        material = gather(first, (), second)
    except ReportError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(UNREADABLE) from None
    assert material.again is not None  # noqa: S101 - it was given
    one, two = material.main.document, material.again.document
    found = agreement(one["summary"], two["summary"])
    for sentence in differences(one, two):
        console.print(f"Note: {sentence}.", highlight=False)
    _show(found, console, differing=differing)
    if not found.is_complete:
        raise typer.Exit(DIFFER)


def _show(found: Agreement, console: Console, *, differing: bool) -> None:
    shown = found.differing if differing else found.pairs
    for place in dict.fromkeys(pair.identity[:2] for pair in shown):
        table = narrow(scene(*place))
        for name in ("", "first", "verdict", "second", "verdict", " "):
            table.add_column(name, justify="right" if name in {"first", "second"} else "left")
        for pair in shown:
            if pair.identity[:2] == place:
                table.add_row(*_line(pair))
        console.print(table)
    for which, alone in (("first", found.only_first), ("second", found.only_second)):
        for claim in alone:
            console.print(f"Only in the {which}: {_told(claim)}.", highlight=False)
    same = len(found.pairs) - len(found.differing)
    opposite = sum(pair.contradicts for pair in found.pairs)
    apart = sum(pair.overlaps is False for pair in found.pairs)
    console.print(
        f"{same} of {len(found.pairs)} verdicts are the same; {opposite} say the opposite; the intervals of "
        f"{apart} have no value in common.",
        highlight=False,
    )


def _line(pair: Pair) -> list[str]:
    _, _, measure, control, treatment = pair.identity
    sign = "" if pair.agrees else "opposite" if pair.contradicts else "differ"
    cells = [
        text for row in (pair.first, pair.second) for text in (_ratio(row), _SIGNS.get(row["verdict"], "?"))
    ]
    return [f"{measure}, {control}-{treatment}", *cells, sign]


def _told(name: Identity) -> str:
    experiment, level, measure, control, treatment = name
    return f"{scene(experiment, level)}, {measure}, {control}-{treatment}"


def _ratio(row: Mapping[str, Any]) -> str:
    ratio = row.get("ratio")
    return f"{ratio:.2f}x" if isinstance(ratio, int | float) and math.isfinite(ratio) else "-"
