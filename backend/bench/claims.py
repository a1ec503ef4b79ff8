"""What a run says: for each measure two intervals, a ratio, and a verdict corrected over its family."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.arrivals import spread_seed
from bench.components import POSTGRESQL, REDIS
from bench.samples import Block, Outcome, Results
from bench.statistics import (
    P50,
    P90,
    P99,
    Comparison,
    Interval,
    Mean,
    Statistic,
    Verdict,
    compare,
    decide,
    interval,
)

TTFT_SLO_S, TOTAL_SLO_S = 1.0, 4.0
MORE_FAILURES = 0.01
"""A treatment that fails this much more often than the control is not called better, however fast."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is taken from a block. `primary`: part of the family of headline claims."""

    name: str
    statistic: Statistic
    take: Callable[[Block], Sequence[float]]
    primary: bool = False
    lower_is_better: bool = True
    unit: str = "ms"
    scale: float = 1e3


def _latency(name: str, metric: str, statistic: Statistic, *, primary: bool = False) -> Measure:
    return Measure(f"{name} {statistic.name}", statistic, lambda block: block.latencies(metric), primary)


def _goodput(block: Block) -> Sequence[float]:
    return [block.goodput_per_s(ttft_slo_s=TTFT_SLO_S, total_slo_s=TOTAL_SLO_S)]


def _per_second(block: Block) -> Sequence[float]:
    return [block.count(Outcome.ANSWERED) / block.duration_s]


CHAT = (
    _latency("first token", "ttft_s", P50, primary=True),
    _latency("first token", "ttft_s", P90),
    _latency("end to end", "total_s", P50, primary=True),
    _latency("end to end", "total_s", P90),
    _latency("PostgreSQL", "database_s", P50),
    _latency("Redis", "cache_s", P50),
    Measure("goodput", Mean(), _goodput, lower_is_better=False, unit="/s", scale=1.0),
)
COMPONENT = (
    _latency("latency", "total_s", P50, primary=True),
    _latency("latency", "total_s", P99),
    Measure("throughput", Mean(), _per_second, lower_is_better=False, unit="/s", scale=1.0),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """How the requests of one arm ended, and the work it did."""

    requests: int
    failed: int
    refused: int
    output_tokens: float
    prompt_tokens: float
    cached_tokens: float

    @property
    def lost_share(self) -> float:
        """Share of requests without an answer."""
        return (self.failed + self.refused) / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Claim:
    """One row: control against treatment in one measure of one experiment at one load."""

    experiment: str
    level: float
    measure: Measure
    control: str
    treatment: str
    control_value: Interval
    treatment_value: Interval
    comparison: Comparison
    verdict: Verdict
    control_counts: Counts
    treatment_counts: Counts

    def row(self) -> dict[str, Any]:
        """Plain data for the document and the charts. Values in `unit`; nan where unknown."""
        one, two, ratio = self.control_value, self.treatment_value, self.comparison
        scale = self.measure.scale
        return {
            "experiment": self.experiment,
            "level": self.level,
            "name": f"{self.experiment.replace('_', ' ')}: {self.measure.name}",
            "measure": self.measure.name,
            "unit": self.measure.unit,
            "primary": self.measure.primary,
            "control": self.control,
            "treatment": self.treatment,
            "control_value": one.estimate * scale,
            "control_low": one.low * scale,
            "control_high": one.high * scale,
            "treatment_value": two.estimate * scale,
            "treatment_low": two.low * scale,
            "treatment_high": two.high * scale,
            "ratio": ratio.ratio,
            "low": ratio.low,
            "high": ratio.high,
            "p_value": ratio.p_value,
            "detectable": ratio.detectable,
            "verdict": self.verdict.value,
            "blocks": ratio.blocks,
            "control_samples": ratio.control_samples,
            "treatment_samples": ratio.treatment_samples,
            **_flat("control", self.control_counts),
            **_flat("treatment", self.treatment_counts),
        }


def _flat(side: str, counts: Counts) -> dict[str, float]:
    return {
        f"{side}_requests": counts.requests,
        f"{side}_failed": counts.failed,
        f"{side}_refused": counts.refused,
        f"{side}_output_tokens": counts.output_tokens,
        f"{side}_prompt_tokens": counts.prompt_tokens,
        f"{side}_cached_tokens": counts.cached_tokens,
    }


def claims(results: Results, *, seed: int = 1) -> list[Claim]:
    """Every measure of every experiment, V1 the control. Headline claims are one family, the rest another."""
    found: list[Claim] = []
    pairs = dict.fromkeys((b.experiment, b.level) for b in results.blocks if not b.warm_up)
    for experiment, level in pairs:
        arms = dict.fromkeys(b.arm for b in results.blocks if b.experiment == experiment)
        for treatment in sorted(arm for arm in arms if arm != "v1"):
            measures = COMPONENT if experiment in {POSTGRESQL, REDIS} else CHAT
            found += _pair(results, experiment, level, treatment, measures=measures, seed=seed)
    return _judged(found)


def _pair(
    results: Results,
    experiment: str,
    level: float,
    treatment: str,
    *,
    measures: Sequence[Measure],
    seed: int,
) -> list[Claim]:
    control_blocks, treatment_blocks = _paired(
        results.select(experiment, "v1", level), results.select(experiment, treatment, level)
    )
    if not control_blocks:
        return []
    counts = (_counts(control_blocks), _counts(treatment_blocks))
    made = []
    for measure in measures:
        taken = [[list(measure.take(b)) for b in side] for side in (control_blocks, treatment_blocks)]
        if not any(taken[0]) or not any(taken[1]):
            continue
        own = spread_seed(seed, experiment, measure.name)
        comparison = compare(
            taken[0], taken[1], measure.statistic, seed=own, lower_is_better=measure.lower_is_better
        )
        values = [interval(side, measure.statistic, seed=own) for side in taken]
        made.append(
            Claim(
                experiment,
                level,
                measure,
                "v1",
                treatment,
                values[0],
                values[1],
                comparison,
                Verdict.UNDECIDED,
                *counts,
            )
        )
    return made


def _paired(control: Sequence[Block], treatment: Sequence[Block]) -> tuple[list[Block], list[Block]]:
    """Rounds that both arms have."""
    by_round = {block.round: block for block in treatment}
    both = [(block, by_round[block.round]) for block in control if block.round in by_round]
    return [pair[0] for pair in both], [pair[1] for pair in both]


def _judged(found: Sequence[Claim]) -> list[Claim]:
    verdicts: dict[int, Verdict] = {}
    for is_primary in (True, False):
        members = [at for at, claim in enumerate(found) if claim.measure.primary is is_primary]
        decided = decide([found[at].comparison for at in members])
        verdicts |= dict(zip(members, decided, strict=True))
    return [_with_verdict(claim, verdicts[at]) for at, claim in enumerate(found)]


def _with_verdict(claim: Claim, verdict: Verdict) -> Claim:
    lost = claim.treatment_counts.lost_share - claim.control_counts.lost_share
    if verdict is Verdict.BETTER and lost > MORE_FAILURES and claim.measure.lower_is_better:
        verdict = Verdict.UNDECIDED
    return Claim(**{**{name: getattr(claim, name) for name in Claim.__slots__}, "verdict": verdict})


def _counts(blocks: Sequence[Block]) -> Counts:
    samples = [sample for block in blocks for sample in block.samples]
    answered = [sample for sample in samples if sample.outcome is Outcome.ANSWERED]

    def mean(name: str) -> float:
        return sum(getattr(s, name) for s in answered) / len(answered) if answered else math.nan

    return Counts(
        requests=len(samples),
        failed=sum(sample.outcome is Outcome.FAILED for sample in samples),
        refused=sum(sample.outcome is Outcome.REFUSED for sample in samples),
        output_tokens=mean("output_tokens"),
        prompt_tokens=mean("prompt_tokens"),
        cached_tokens=mean("cached_tokens"),
    )


@dataclass(frozen=True, slots=True)
class Target:
    """A row of the customer's table: their own figures, and the range they hope for."""

    title: str
    experiment: str
    measure: str
    before_ms: float
    low: float
    high: float


CUSTOMER = (
    Target("End to end", "returning_users", "end to end p50", 7244, 4.8, 7.2),
    Target("LLM, first byte", "returning_users", "first token p50", 1213, 1.5, 2.0),
    Target("PostgreSQL", POSTGRESQL, "latency p50", 25, 1.7, 2.5),
    Target("Redis", REDIS, "latency p50", 1, 1.2, 2.0),
)


def attainment(target: Target, row: Mapping[str, Any]) -> str:
    """`met` when the verdict is better and even the low end of the interval reaches the target's low end."""
    low, ratio = row.get("low"), row.get("ratio")
    if ratio is None or math.isnan(ratio):
        return "not measured"
    if low is None or math.isnan(low):
        return "too few blocks"
    if row["verdict"] == "better" and low >= target.low:
        return "met"
    return "reached, not shown" if ratio >= target.low else "missed"
