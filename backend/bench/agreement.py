"""Do two runs say the same? Every verdict of both, and where they differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Identity = tuple[Any, ...]
_IDENTITY = ("experiment", "level", "measure", "control", "treatment")
_OPPOSITE = {"better", "worse"}


@dataclass(frozen=True, slots=True)
class Pair:
    """One claim in both runs: where its row is in each `summary`, and what each says."""

    identity: Identity
    first_at: int
    second_at: int
    first: Mapping[str, Any]
    second: Mapping[str, Any]

    @property
    def agrees(self) -> bool:
        """The same verdict."""
        return bool(self.first["verdict"] == self.second["verdict"])

    @property
    def contradicts(self) -> bool:
        """One says better, the other worse; undecided contradicts nothing."""
        return {self.first["verdict"], self.second["verdict"]} == _OPPOSITE

    @property
    def overlaps(self) -> bool | None:
        """Whether the intervals have a point in common; None where one of them has no interval."""
        lows, highs = (
            [_number(row.get(key)) for row in (self.first, self.second)] for key in ("low", "high")
        )
        if not all(map(math.isfinite, (*lows, *highs))):
            return None
        return max(lows) <= min(highs)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two runs have in common, and what only one of them measured."""

    pairs: tuple[Pair, ...]
    only_first: tuple[Identity, ...]
    only_second: tuple[Identity, ...]

    @property
    def differing(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if not pair.agrees)

    @property
    def is_complete(self) -> bool:
        """All verdicts are the same, and both measured the same."""
        return bool(self.pairs) and not (self.differing or self.only_first or self.only_second)


def agreement(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> Agreement:
    """From the rows of two summaries."""
    one, two = ({identity(row): at for at, row in enumerate(rows)} for rows in (first, second))
    pairs = tuple(
        Pair(name, at, two[name], first[at], second[two[name]]) for name, at in one.items() if name in two
    )
    return Agreement(
        pairs,
        tuple(name for name in one if name not in two),
        tuple(name for name in two if name not in one),
    )


def identity(row: Mapping[str, Any]) -> Identity:
    """What makes a row the same claim in another run."""
    return tuple(row.get(key) for key in _IDENTITY)


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Sentences on why two documents may not be comparable: machine, code, profile, engine, completeness."""
    said = []
    for section, keys in (("environment", ("cpu", "cores", "commit")), ("profile", ("name", "engine"))):
        for key in keys:
            found = [_section(document, section).get(key) for document in (first, second)]
            if found[0] != found[1]:
                said.append(f"{key}: {found[0]} in the first, {found[1]} in the second")
    for name, document in (("first", first), ("second", second)):
        if not document.get("complete"):
            said.append(f"the {name} run is not complete")
    return said


def _section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    within = document.get("configuration", {}) if name == "profile" else document
    found = within.get(name) if isinstance(within, Mapping) else None
    return found if isinstance(found, Mapping) else {}
