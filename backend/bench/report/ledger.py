"""Where every printed number comes from: nothing that was measured reaches a document by another way."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.report.sources import Source
from bench.report.spanish import number

OPEN, CLOSE = "\u2062", "\u2063"
"""Invisible marks around printed numbers, for a test that looks for numbers that passed by the ledger."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One printed number. `paths`: letter and path of each input; `formula` is empty for a plain copy."""

    page: str
    text: str
    kind: str
    paths: tuple[tuple[str, Path], ...]
    formula: str = ""


@dataclass(slots=True)
class Ledger:
    """Prints numbers and remembers them. `page`: the document that is being written."""

    marked: bool = False
    page: str = ""
    entries: list[Entry] = field(default_factory=list)

    def cite(self, source: Source, path: Sequence[str | int], kind: str = "value") -> str:
        """The value at a path of a file, as text."""
        steps = tuple(path)
        return self._printed(number(source.at(steps), kind), kind, ((source.letter, steps),))

    def derive(
        self,
        value: float | None,
        kind: str,
        formula: str,
        inputs: Sequence[tuple[Source, Sequence[str | int]]],
    ) -> str:
        """A number computed from cited ones: the formula is kept with its inputs."""
        paths = tuple((source.letter, tuple(path)) for source, path in inputs)
        return self._printed(number(value, kind), kind, paths, formula)

    def state(self, text: str, why: str) -> str:
        """A number that nobody measured: a target, an assumption, a constant of the method."""
        return self._printed(text, "stated", (), why)

    def _printed(self, text: str, kind: str, paths: tuple[tuple[str, Path], ...], formula: str = "") -> str:
        self.entries.append(Entry(self.page, text, kind, paths, formula))
        return f"{OPEN}{text}{CLOSE}" if self.marked else text
