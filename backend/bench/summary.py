"""What is said of a run: rows with intervals, five claims, capacities, shortened histories, counts."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.samples import finite


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of one comparison. Values in `unit`; a ratio above 1 favours the treatment; nan: none."""

    experiment: str
    level: float
    measure: str
    unit: str
    lower_is_better: bool
    control: str
    treatment: str
    control_value: float
    control_low: float
    control_high: float
    treatment_value: float
    treatment_low: float
    treatment_high: float
    floor: float
    ratio: float
    low: float
    high: float
    rounds: int
    """Incarnations of both arms, each with a process, pool or client of its own: the interval's units."""
    detectable: float
    """The smallest true ratio that so many rounds would have shown four times in five."""
    control_people: float
    treatment_people: float
    control_samples: int
    treatment_samples: int
    control_requests: int
    treatment_requests: int
    control_lost: int
    treatment_lost: int
    """Requests that failed or were refused."""
    control_output_tokens: float
    treatment_output_tokens: float
    control_prompt_tokens: float
    treatment_prompt_tokens: float
    control_cached_tokens: float
    treatment_cached_tokens: float

    @property
    def identity(self) -> tuple[str, float, str, str, str]:
        """What makes it the same row in another run."""
        return (self.experiment, self.level, self.measure, self.control, self.treatment)


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim as this run sees it. `control` is the best constant where the claim is about the best."""

    name: str
    experiment: str
    level: float
    measure: str
    control: str
    treatment: str
    ratio: float
    low: float
    high: float
    rounds: int
    detectable: float
    p: float
    p_adjusted: float
    """By Holm over `family` claims."""
    family: int
    verdict: str
    es: str
    en: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """Answers a second of one version that is never left without work, and how many people it serves in time.

    `people`: the most of them, among the loads of the run, of whom 99 % were answered in time (nan: none);
    `share` is that load as a share of the capacity, `people_per_s` the answers a second they got.
    """

    estimate: float
    low: float
    high: float
    rounds: int
    people: float
    share: float
    people_per_s: float


@dataclass(frozen=True, slots=True)
class Shorter:
    """How many requests of `arm` saw less history than V1's: the same question of the same person."""

    experiment: str
    level: float
    arm: str
    requests: int
    shorter: int
    by_a_fifth: int

    @property
    def share(self) -> float:
        return self.shorter / self.requests if self.requests else math.nan


@dataclass(frozen=True, slots=True)
class Summary:
    """All that a document may say of a run, or of several pooled."""

    rows: tuple[Row, ...]
    claims: tuple[Judged, ...]
    capacity: Mapping[str, Mapping[str, Capacity]]
    shorter: tuple[Shorter, ...]
    faults: Mapping[str, float]
    """Acknowledged, lost, doubled, faults and rounds; empty where no faults were tried."""

    def row(self, experiment: str, level: float, measure: str, control: str, treatment: str) -> Row | None:
        """One row by what it is about."""
        wanted = (experiment, level, measure, control, treatment)
        return next((row for row in self.rows if row.identity == wanted), None)

    def claim(self, name: str) -> Judged:
        """One of the five."""
        return next(claim for claim in self.claims if claim.name == name)

    def derived(self) -> dict[str, Any]:
        """Plain data for the document, with null for what is unknown."""
        return {
            "claims": [finite(asdict(claim)) for claim in self.claims],
            "summary": [finite(asdict(row)) for row in self.rows],
            "capacity": {
                name: {arm: finite(asdict(found)) for arm, found in arms.items()}
                for name, arms in self.capacity.items()
            },
            "shorter": [asdict(row) for row in self.shorter],
            "faults": finite(dict(self.faults)),
        }


_CLOSE = 1e-6


def difference(own: Any, told: Any, where: str = "") -> str | None:
    """The first place where `told` is something else than `own`; None where they are the same."""
    if isinstance(own, Mapping):
        if not isinstance(told, Mapping) or set(own) != set(told):
            return where or "claims"
        pairs = [(own[key], told[key], f"{where}.{key}".lstrip(".")) for key in own]
    elif isinstance(own, list | tuple):
        if not isinstance(told, list | tuple) or len(own) != len(told):
            return where
        pairs = [(*pair, f"{where}[{at}]") for at, pair in enumerate(zip(own, told, strict=True))]
    elif isinstance(own, float) and isinstance(told, int | float) and not isinstance(told, bool):
        return None if math.isclose(own, told, rel_tol=_CLOSE, abs_tol=_CLOSE) else where
    else:
        return None if own == told else where
    return next((found for pair in pairs if (found := difference(*pair)) is not None), None)


def rows_of(document: Mapping[str, Any]) -> list[Row]:
    """The rows of a document, null as nan."""
    return [Row(**_known(row)) for row in document["summary"]]


def claims_of(document: Mapping[str, Any]) -> list[Judged]:
    """The five claims of a document."""
    return [Judged(**_known(claim)) for claim in document["claims"]]


def capacities_of(document: Mapping[str, Any]) -> dict[str, dict[str, Capacity]]:
    """The capacities of a document, by experiment and version."""
    return {
        name: {arm: Capacity(**_known(found)) for arm, found in arms.items()}
        for name, arms in document["capacity"].items()
    }


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in row.items()}
