"""`python -m bench agree A.json B.json`: the claims of two runs, and the ranges of the first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.catalogue import scene, word
from bench.claims import contradiction
from bench.samples import ResultsError, from_document, read
from bench.summary import Judged, Row, claims_of, rows_of
from bench.table import narrow

DIFFER, UNREADABLE = 1, 2
_OPPOSITE = {"better", "worse"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """`pairs`: rows that both runs have, with an interval in the first."""

    claims: tuple[tuple[Judged, Judged], ...]
    pairs: tuple[tuple[Row, Row], ...]

    @property
    def opposite(self) -> int:
        """Claims of which one run says better and the other worse."""
        return sum({one.verdict, two.verdict} == _OPPOSITE for one, two in self.claims)

    @property
    def differing(self) -> int:
        """Claims with another verdict."""
        return sum(one.verdict != two.verdict for one, two in self.claims)

    @property
    def outside(self) -> tuple[tuple[Row, Row], ...]:
        """Rows whose second ratio is not in the first's interval."""
        return tuple((one, two) for one, two in self.pairs if not one.low <= two.ratio <= one.high)


def agreement(first: Mapping[str, Any], second: Mapping[str, Any]) -> Agreement:
    """Compare what two documents say."""
    theirs = {row.identity: row for row in rows_of(second)}
    pairs = tuple(
        (row, theirs[row.identity])
        for row in rows_of(first)
        if row.identity in theirs and math.isfinite(row.low) and math.isfinite(theirs[row.identity].ratio)
    )
    return Agreement(tuple(zip(claims_of(first), claims_of(second), strict=True)), pairs)


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Sentences on why two documents may not be comparable: machine, code, profile, engine, completeness."""
    told = []
    for section, keys in (("environment", ("cpu", "cores", "commit")), ("profile", ("name", "engine"))):
        for key in keys:
            found = [_section(document, section).get(key) for document in (first, second)]
            if found[0] != found[1]:
                told.append(f"{key}: {found[0]} in the first, {found[1]} in the second")
    for name, document in (("first", first), ("second", second)):
        if not document.get("complete"):
            told.append(f"the {name} run is not complete")
    return told


def agree(
    first: Annotated[Path, typer.Argument(help="Result of a run (JSON).")],
    second: Annotated[Path, typer.Argument(help="Result of another run of the same.")],
    *,
    outside: Annotated[bool, typer.Option("--outside", help="List the rows outside the ranges.")] = False,
) -> None:
    """Compare two runs. Status 0: the same verdict of all five claims; 1: not; 2: a file cannot be used."""
    console = Console()
    try:
        one, two = (_checked(path) for path in (first, second))
    except ResultsError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(UNREADABLE) from None
    found = agreement(one, two)
    for sentence in differences(one, two):
        console.print(f"Note: {sentence}.", highlight=False)
    table = narrow("The five claims")
    for name in ("", "first", "verdict", "second", "verdict"):
        table.add_column(name, justify="right" if name in {"first", "second"} else "left", overflow="fold")
    for mine, other in found.claims:
        table.add_row(word(mine.name), _ratio(mine.ratio), mine.verdict, _ratio(other.ratio), other.verdict)
    console.print(table)
    inside = len(found.pairs) - len(found.outside)
    console.print(
        f"{inside} of {len(found.pairs)} ratios of the second run are inside the first's intervals; "
        f"{found.differing} claims have another verdict, {found.opposite} the opposite one.",
        highlight=False,
    )
    if outside:
        _list(found.outside, console)
    if found.differing:
        raise typer.Exit(DIFFER)


def _list(pairs: Sequence[tuple[Row, Row]], console: Console) -> None:
    for one, two in pairs:
        console.print(
            f"{scene(one.experiment, one.level)}: {one.measure}, {one.control} - {one.treatment}: "
            f"{one.low:.2f}-{one.high:.2f}, then {two.ratio:.2f}",
            highlight=False,
        )


def _checked(path: Path) -> dict[str, Any]:
    document = read(path)
    results = from_document(document)
    wrong = contradiction(document, results)
    if wrong is not None:
        raise ResultsError(f"{path.name} does not say what its blocks say: {wrong} was changed")
    return document


def _ratio(ratio: float) -> str:
    return "-" if math.isnan(ratio) else f"{ratio:.2f}x"


def _section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    within = document.get("configuration", {}) if name == "profile" else document
    found = within.get(name) if isinstance(within, Mapping) else None
    return found if isinstance(found, Mapping) else {}
