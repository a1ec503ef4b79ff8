"""How many answers a second one server of each arm gives within the deadline, from what was measured."""

import math
from dataclasses import dataclass

from bench.report.ledger import Ledger
from bench.report.rows import Row, workloads
from bench.report.sources import Material

GOODPUT = "goodput"
NEARLY_ALL = 0.95
"""From this share of what was offered an arm has not reached its limit, and its figure is a lower bound."""
WHOLE = 1.0
"""Below V1's capacity nobody can reach a limit: what is answered is what was asked."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """One workload. `one` and `two`: the row in which V1, and V2, gave most answers within the deadline."""

    experiment: str
    one: Row
    two: Row
    v1_per_s: float
    """What V1 completed at most, of which loads are shares; nan where it is not in the file."""
    highest: float
    """The highest load that was measured, as a share of that."""

    @property
    def is_shown(self) -> bool:
        """V2 gives more answers within the deadline than V1 can, by the verdict where it gives most."""
        return bool(self.two.get("verdict") == "better") and "V1" not in self.unreached()

    @property
    def shown(self) -> str:
        """Whether a saving may be stated, and why not."""
        if self.is_shown:
            return "sí"
        return "no: sin llegar al tope" if "V1" in self.unreached() else f"no: {self.two.verdict()}"

    def unreached(self) -> list[str]:
        """Arms that answered nearly all that was offered: their limit lies higher than what is told."""
        if self.highest < WHOLE:
            return ["V1", "V2"]
        both = (("V1", "one", self.one), ("V2", "two", self.two))
        return [
            name
            for name, arm, row in both
            if self.value(arm) >= NEARLY_ALL * self.v1_per_s * row.value("level")
        ]

    def value(self, arm: str, end: str = "value") -> float:
        """Answers a second; `end`: value, low or high."""
        row, side = (self.one, "control") if arm == "one" else (self.two, "treatment")
        return row.value(f"{side}_{end}")

    def cite(self, ledger: Ledger, arm: str) -> str:
        row, side = (self.one, "control") if arm == "one" else (self.two, "treatment")
        return row.cite(ledger, f"{side}_value")

    def servers(self, ledger: Ledger, arm: str, load_per_s: float, reserve: float, end: str = "value") -> str:
        """Whole servers for a load, with the formula and its input in the ledger."""
        row, side = (self.one, "control") if arm == "one" else (self.two, "treatment")
        formula = f"techo({load_per_s:g} · (1 + {reserve:g}) / C)"
        inputs = [(row.source, row.path(f"{side}_{end}"))]
        return ledger.derive(self.count(arm, load_per_s, reserve, end), "count", formula, inputs)

    def count(self, arm: str, load_per_s: float, reserve: float, end: str = "value") -> int | None:
        """The same as a number; None where the capacity is unknown."""
        each = self.value(arm, end)
        return math.ceil(load_per_s * (1 + reserve) / each) if math.isfinite(each) and each > 0 else None


def capacities(material: Material) -> list[Capacity]:
    """One for each workload in which both arms answered something in time."""
    found = workloads(material, GOODPUT)
    made = []
    for experiment in dict.fromkeys(str(row.get("experiment")) for row in found):
        mine = [row for row in found if row.get("experiment") == experiment]
        one = max(mine, key=lambda row: _known(row.value("control_value")))
        two = max(mine, key=lambda row: _known(row.value("treatment_value")))
        if one.value("control_value") > 0 and two.value("treatment_value") > 0:
            per_s = material.main.at(("configuration", "capacity_per_s", experiment))
            whole = float(per_s) if isinstance(per_s, int | float) else math.nan
            highest = max(row.value("level") for row in mine)
            made.append(Capacity(experiment, one, two, whole, highest))
    return made


def _known(value: float) -> float:
    return value if math.isfinite(value) else -1.0
