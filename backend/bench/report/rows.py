"""Rows of the main result and of the component files, as the documents ask for them."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import spanish
from bench.report.ledger import Ledger, Path
from bench.report.sources import Material, Source
from bench.statistics import Mean, compare

WORKLOADS = ("returning_users", "new_conversations", "single_questions")
OURS = ("fluido", "GroupWriter", "RowStreams", "lanes")
HIGHER_IS_BETTER = ("/s", "Jain")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `summary`: control against treatment in one measure, at one load."""

    source: Source
    at: int

    @property
    def origin(self) -> str:
        """R12: line 12 of `summary` of the file R."""
        return f"{self.source.letter}{self.at}"

    def path(self, key: str) -> Path:
        return ("summary", self.at, key)

    def get(self, key: str) -> Any:
        return self.source.at(self.path(key))

    def value(self, key: str) -> float:
        """nan where it is unknown."""
        found = self.get(key)
        return float(found) if isinstance(found, int | float) else math.nan

    @property
    def key(self) -> tuple[str, float]:
        return self.get("experiment"), float(self.get("level"))

    @property
    def is_chat(self) -> bool:
        """A whole request with an engine behind it; false for a component alone."""
        return bool(self.get("control_output_tokens"))

    @property
    def is_control(self) -> bool:
        """The same code twice."""
        return str(self.get("treatment")).endswith("_again")

    @property
    def is_ours(self) -> bool:
        """What we propose against what there was: V2, or the part that an experiment is about."""
        about = self.source.at(("experiments", str(self.get("experiment"))))
        headline = about.get("headline") if isinstance(about, dict) else None
        return not self.is_control and self.get("treatment") in {"v2", headline}

    @property
    def where(self) -> str:
        """Workload and load in words."""
        document = self.source.at(("summary", self.at))
        return ", ".join(filter(None, (spanish.experiment(self.get("experiment")), spanish.load(document))))

    @property
    def pair(self) -> str:
        return f"{spanish.arm(self.get('control'))} y {spanish.arm(self.get('treatment'))}"

    def waits_no_more(self, side: str = "treatment") -> bool:
        """The stage took less than any answer of a server takes: nobody was asked."""
        return self.value(f"{side}_value") <= self.value("floor") * (1 + 1e-9)

    @property
    def is_bound(self) -> bool:
        """The ratio divides by a value that is only known to be small."""
        return self.waits_no_more() or self.waits_no_more("control")

    def cite(self, ledger: Ledger, key: str, kind: str = "value") -> str:
        text = ledger.cite(self.source, self.path(key), kind)
        side = key.removesuffix("_value")
        if side in {"control", "treatment"} and self.waits_no_more(side):
            return f"≤ {text}"
        if key == "ratio" and self.waits_no_more() and not self.waits_no_more("control"):
            return f"≥ {text}"
        return text

    def interval(self, ledger: Ledger) -> str:
        """`1,85 a 3,26`, or that there were too few blocks for one, or nothing to compare."""
        if self.is_bound:
            return "es una cota"
        if not math.isfinite(self.value("low")):
            return "pocos bloques"
        return f"{self.cite(ledger, 'low', 'ratio')} a {self.cite(ledger, 'high', 'ratio')}"

    def verdict(self) -> str:
        if not math.isfinite(self.value("low")):
            return "indeciso"
        return spanish.VERDICTS.get(self.get("verdict"), str(self.get("verdict")))

    def lost(self, ledger: Ledger, side: str) -> str:
        """`1 + 0 de 855`: failed and refused of all that were asked."""
        parts = (self.cite(ledger, f"{side}_{name}", "count") for name in ("failed", "refused", "requests"))
        failed, refused, asked = parts
        return f"{failed} + {refused} de {asked}"

    def name(self) -> str:
        unit = spanish.unit(self.get("unit"))
        return spanish.measure(self.get("measure")) + (f" ({unit})" if unit else "")


def rows(source: Source) -> list[Row]:
    return [Row(source, at) for at in range(len(source.document["summary"]))]


def find(
    material: Material,
    *,
    treatment: str | None = None,
    measure: str | None = None,
    experiment: str | None = None,
    level: float | None = None,
) -> list[Row]:
    """Rows of the main result that agree in everything given, in the order of the file."""
    found = []
    for row in rows(material.main):
        wanted = {"treatment": treatment, "measure": measure, "experiment": experiment}
        if any(value is not None and row.get(key) != value for key, value in wanted.items()):
            continue
        if level is None or math.isclose(level, row.value("level")):
            found.append(row)
    return found


def workloads(material: Material, measure: str) -> list[Row]:
    """V2 against V1 in one measure of whole requests, at every load; special scenes are left out."""
    found = find(material, treatment="v2", measure=measure)
    kept = [row for row in found if row.get("experiment") in WORKLOADS and row.get("control") == "v1"]
    return sorted(kept, key=lambda row: (WORKLOADS.index(row.get("experiment")), row.value("level")))


def ours(source: Source) -> list[Row]:
    """Every row that says how the new one did against the old one."""
    return [row for row in rows(source) if row.is_ours]


def groups(found: Sequence[Row]) -> dict[tuple[str, float], list[Row]]:
    """By experiment and load, in the order in which they appear."""
    made: dict[tuple[str, float], list[Row]] = {}
    for row in found:
        made.setdefault(row.key, []).append(row)
    return made


@dataclass(frozen=True, slots=True)
class Contest:
    """A component: ours against one other client. Above 1 favours ours."""

    source: Source
    experiment: str
    metric: str
    ours: str
    other: str
    ratio: float
    low: float
    high: float
    blocks: int
    paths: tuple[Path, ...]
    """Of the ratio with its interval where the file has them; else of the two lists of blocks."""

    @property
    def is_shown(self) -> bool:
        """The interval lies above 1."""
        return math.isfinite(self.low) and self.low > 1

    @property
    def verdict(self) -> str:
        if not math.isfinite(self.low):
            return "sin intervalo"
        if self.is_shown:
            return "mejor"
        return "**peor**" if self.high < 1 else "indeciso"

    @property
    def scene(self) -> str:
        """Where it was, for tables that do not name our arm: with the limit that ours began at."""
        began = re.fullmatch(r"fluido from (\d+)", self.ours)
        return spanish.cell(self.experiment) + (f", desde {began[1]}" if began else "")

    @property
    def origin(self) -> str:
        return " y ".join(f"{self.source.letter}{path[1]}" for path in self.paths)

    def number(self, ledger: Ledger, which: str) -> str:
        """`ratio`, `low` or `high`."""
        at = ("ratio", "low", "high").index(which)
        if len(self.paths) == 1:
            return ledger.cite(self.source, (*self.paths[0], at), "ratio")
        inputs = [(self.source, path) for path in self.paths]
        return ledger.derive(getattr(self, which), "ratio", f"{which}: bench.statistics.compare", inputs)

    def interval(self, ledger: Ledger) -> str:
        if not math.isfinite(self.low):
            return "pocos bloques"
        return f"{self.number(ledger, 'low')} a {self.number(ledger, 'high')}"


def contests(source: Source) -> list[Contest]:
    """Every comparison that a component file allows."""
    return list(_redis(source) if "rows" in source.document else _postgresql(source))


_REDIS_METRICS = {
    "calls_per_s_ratio": "llamadas por segundo",
    "p50_ms_ratio": "latencia p50",
    "p99_ms_ratio": "latencia p99",
    "cpu_us_ratio": "CPU por llamada",
}


def _redis(source: Source) -> Iterator[Contest]:
    for at, row in enumerate(source.document["rows"]):
        for key, metric in _REDIS_METRICS.items():
            found = row.get(key)
            if isinstance(found, list) and len(found) == 3:
                ratio, low, high = (float(value) if value is not None else math.nan for value in found)
                names = (str(row["cell"]), metric, "fluido.redis", str(row["client"]))
                yield Contest(source, *names, ratio, low, high, int(row["blocks"]), (("rows", at, key),))


def _postgresql(source: Source) -> Iterator[Contest]:
    measured = source.document["measured"]
    for at, ours in enumerate(measured):
        # Limits, orders and the cells of a sweep are in the files too: they describe, nobody wins by them.
        if not str(ours["arm"]).startswith(OURS) or ours["metric"] not in spanish.METRICS:
            continue
        for other_at, other in enumerate(measured):
            same = all(other[key] == ours[key] for key in ("experiment", "metric"))
            if not same or str(other["arm"]).startswith(OURS) or len(other["blocks"]) != len(ours["blocks"]):
                continue
            found = compare(
                other["blocks"],
                ours["blocks"],
                Mean(),
                seed=1,
                lower_is_better=not str(ours["metric"]).endswith(HIGHER_IS_BETTER),
            )
            names = (str(ours["experiment"]), str(ours["metric"]), str(ours["arm"]), str(other["arm"]))
            paths: tuple[Path, ...] = (("measured", other_at, "blocks"), ("measured", at, "blocks"))
            yield Contest(source, *names, found.ratio, found.low, found.high, found.blocks, paths)
