"""What a run says: for each measure two intervals, a ratio, and a verdict corrected over its family."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.arrivals import spread_seed
from bench.catalogue import EXPERIMENTS, POSTGRESQL, REDIS, SAME_CODE, scene
from bench.measures import Measure, Slo
from bench.samples import Block, Outcome, Results
from bench.statistics import Comparison, Interval, Verdict, compare, decide, holm, interval, pooled
from bench.workloads import RETURNING

MORE_FAILURES = 0.01
"""A treatment that fails this much more often than the control is not called better, however fast."""


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
    blocks: int
    """Paired blocks; intervals and verdicts come from `comparison.blocks` incarnations of them."""
    p_adjusted: float = 1.0

    @property
    def family(self) -> str:
        """Claims that are corrected together (Holm): headlines, A/A, and each other question by itself."""
        if self.experiment == SAME_CODE:
            return SAME_CODE
        known = EXPERIMENTS.get(self.experiment)
        if self.measure.primary and known is not None and self.treatment == known.headline:
            return "headline"
        return f"{self.experiment}: {self.treatment}"

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
            "lower_is_better": self.measure.lower_is_better,
            "family": self.family,
            "control": self.control,
            "treatment": self.treatment,
            "control_value": one.estimate * scale,
            "control_low": one.low * scale,
            "control_high": one.high * scale,
            "treatment_value": two.estimate * scale,
            "treatment_low": two.low * scale,
            "treatment_high": two.high * scale,
            "floor": self.measure.floor * scale or None,
            "ratio": ratio.ratio,
            "low": ratio.low,
            "high": ratio.high,
            "p_value": ratio.p_value,
            "p_adjusted": self.p_adjusted,
            "detectable": ratio.detectable,
            "verdict": self.verdict.value,
            "blocks": self.blocks,
            "incarnations": ratio.blocks,
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
    """Every measure of every comparison, judged family by family."""
    found: list[Claim] = []
    names = list(dict.fromkeys(b.experiment for b in results.blocks))
    scenes = {(b.experiment, b.level) for b in results.blocks if not b.warm_up}
    for name, level in sorted(scenes, key=lambda at: (names.index(at[0]), at[1])):
        experiment = EXPERIMENTS.get(name)
        if experiment is None:
            continue
        arms = list(dict.fromkeys(b.arm for b in results.blocks if b.experiment == name))
        for control, treatment in experiment.compared(arms):
            found += _pair(results, (name, level), control, treatment, seed=seed)
    return _judged(found)


def _pair(results: Results, at: tuple[str, float], control: str, treatment: str, *, seed: int) -> list[Claim]:
    name, level = at
    sides = _paired(results.select(name, control, level), results.select(name, treatment, level))
    if not sides[0]:
        return []
    counts = (_counts(sides[0]), _counts(sides[1]))
    slo = Slo(**results.configuration.get("slo", {}).get(name, {}))
    made = []
    for measure in EXPERIMENTS[name].measures:
        taken = [
            pooled([list(measure.take(b, slo)) for b in side], [b.incarnation for b in side])
            for side in sides
        ]
        if not any(taken[0]) or not any(taken[1]):
            continue
        own = spread_seed(seed, name, measure.name)
        comparison = compare(
            taken[0], taken[1], measure.statistic, seed=own, lower_is_better=measure.lower_is_better
        )
        before, after = (interval(side, measure.statistic, seed=own) for side in taken)
        verdict = Verdict.UNDECIDED
        made.append(
            Claim(
                *(name, level, measure, control, treatment, before, after, comparison, verdict, *counts),
                blocks=len(sides[0]),
            )
        )
    return made


def _paired(control: Sequence[Block], treatment: Sequence[Block]) -> tuple[list[Block], list[Block]]:
    """Rounds that both arms have."""
    by_round = {block.round: block for block in treatment}
    both = [(block, by_round[block.round]) for block in control if block.round in by_round]
    return [pair[0] for pair in both], [pair[1] for pair in both]


def _judged(found: Sequence[Claim]) -> list[Claim]:
    judged = list(found)
    for family in dict.fromkeys(claim.family for claim in found):
        members = [at for at, claim in enumerate(found) if claim.family == family]
        comparisons = [found[at].comparison for at in members]
        adjusted = holm([comparison.p_value for comparison in comparisons])
        for at, verdict, p_adjusted in zip(members, decide(comparisons), adjusted, strict=True):
            judged[at] = _with_verdict(found[at], verdict, p_adjusted)
    return judged


def _with_verdict(claim: Claim, verdict: Verdict, p_adjusted: float) -> Claim:
    lost = claim.treatment_counts.lost_share - claim.control_counts.lost_share
    if verdict is Verdict.BETTER and lost > MORE_FAILURES and claim.measure.lower_is_better:
        verdict = Verdict.UNDECIDED
    return replace(claim, verdict=verdict, p_adjusted=p_adjusted)


def power(found: Sequence[Claim]) -> dict[str, Any]:
    """How large a true ratio the headline claims would have shown four times in five."""
    headline = [claim for claim in found if claim.family == "headline"]
    known = sorted(
        (claim.comparison.detectable, f"{scene(claim.experiment, claim.level)}: {claim.measure.name}")
        for claim in headline
        if math.isfinite(claim.comparison.detectable)
    )
    if not known:
        return {"claims": len(headline), "median": math.nan, "largest": math.nan, "largest_claim": ""}
    return {
        "claims": len(headline),
        "median": known[len(known) // 2][0],
        "largest": known[-1][0],
        "largest_claim": known[-1][1],
    }


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
    Target("End to end", RETURNING, "end to end p50", 7244, 4.8, 7.2),
    Target("LLM, first byte", RETURNING, "first token p50", 1213, 1.5, 2.0),
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
