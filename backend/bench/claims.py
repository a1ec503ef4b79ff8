"""What a run says, computed from its blocks and from nothing else: rows with intervals, and five claims.

The five were named before any run. Only they have a verdict, corrected by Holm over those of the five that
the plan of the run holds; every other row is a ratio with its interval. `summarise` is pure arithmetic: the
program that runs writes what it says into the document, and the report computes it again and refuses a
document that says something else (`contradiction`).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.arrivals import spread_seed
from bench.catalogue import (
    CAPACITY_OF,
    DAY,
    EXPERIMENTS,
    FAULTS,
    LAW,
    LIVING,
    POSTGRESQL,
    REDIS,
    RUNGS,
    SAME,
    VISITS,
    WHOLE_DAY,
    about,
)
from bench.course import whole_days
from bench.measures import CAPACITY, Measure, Slo
from bench.samples import DERIVED, Block, Outcome, Results, from_document, to_document
from bench.statistics import Comparison, Interval, Verdict, compare, holm, interval, pooled, verdict
from bench.summary import Capacity, Judged, Row, Shorter, Summary, difference

MORE_FAILURES = 0.01
"""A treatment that fails this much more often than the control is not called better, however fast."""
IN_TIME = 0.99
SHORTER, FIFTH = 0.95, 0.8
"""A prompt that is shorter than this share of V1's saw less history: words of an answer differ by less."""
BEST_CONSTANT = "best constant"


@dataclass(frozen=True, slots=True)
class Claim:
    """One of the five, named before a run. `measure` empty: a count, which has no p-value."""

    name: str
    experiment: str
    level: float
    measure: str
    control: str
    treatment: str
    es: str
    en: str


CLAIMS = (
    Claim(
        "day", DAY, WHOLE_DAY, "share of the oracle", BEST_CONSTANT, LAW,
        "En un día que cambia, los límites dinámicos hacen más trabajo que cualquier límite fijo mantenido "
        "todo el día.",
        "Over a day that changes, dynamic limits do more work than any constant held all day.",
    ),
    Claim(
        "people", VISITS, 0.8, "end to end p50", "v1", "v2",
        "Quien vuelve a su conversación recibe antes la respuesta completa, con cada versión al 80 % de su "
        "propia capacidad.",
        "People who come back are answered sooner, each version at 80 % of its own capacity.",
    ),
    Claim(
        "postgresql", POSTGRESQL, 1.0, "latency p50", "v1", "v2",
        "Una interacción con PostgreSQL, con 60 clientes simultáneos, demora menos.",
        "A turn of PostgreSQL with 60 clients takes less time.",
    ),
    Claim(
        "redis", REDIS, 1.0, "latency p50", "v1", "v2",
        "Una interacción con Redis, con 64 clientes simultáneos, demora menos.",
        "A turn of Redis with 64 clients takes less time.",
    ),
    Claim(
        "faults", FAULTS, 1.0, "", "", "v2",
        "Con fallas en cada parte, nada de lo confirmado se pierde ni se duplica.",
        "Under faults of every part nothing that was acknowledged is lost or doubled.",
    ),
)  # fmt: skip
BY_NAME = {claim.name: claim for claim in CLAIMS}


def document(results: Results) -> dict[str, Any]:
    """The whole document of a run, with what its blocks say as they are written: rounded."""
    names = dict.fromkeys(block.experiment for block in results.blocks)
    bare = to_document(results, experiments=about(names))
    written = json.loads(json.dumps(bare))
    return {**bare, **summarise(from_document(written)).derived()}


def contradiction(told: Mapping[str, Any], results: Results) -> str | None:
    """The first place where a document says something else than its blocks; None where there is none."""
    return difference(summarise(results).derived(), {name: told.get(name) for name in DERIVED})


def pool(runs: Sequence[Results]) -> Results:
    """Several runs of one plan as one: the rounds of all are incarnations."""
    blocks: list[Block] = []
    offset = 0
    for run in runs:
        blocks += [
            replace(b, round=b.round + offset, incarnation=b.incarnation + offset) if not b.warm_up else b
            for b in run.blocks
        ]
        offset += 1 + max((max(b.round, b.incarnation) for b in run.blocks), default=0)
    claims = list(dict.fromkeys(name for run in runs for name in run.configuration.get("claims", ())))
    return Results(
        runs[0].environment,
        {**runs[0].configuration, "claims": claims},
        blocks,
        [note for run in runs for note in run.notes],
        all(run.complete for run in runs),
        [line for run in runs for line in run.timelines],
    )


def summarise(results: Results, *, seed: int = 1) -> Summary:
    """Every measure of every comparison, and the five claims."""
    blocks = [block for block in results.blocks if not block.warm_up]
    blocks += whole_days([block for block in blocks if block.experiment == DAY])
    seen = Results(results.environment, results.configuration, blocks)
    found = dict(_rows(seen, seed))
    rows = tuple(found)
    faults = _faults(blocks)
    return Summary(
        rows,
        _claims(results, found, faults),
        _capacity(seen, seed),
        tuple(_shorter(blocks)),
        faults,
    )


Known = dict[tuple[Any, ...], Interval]
"""Intervals of an arm's own values, which several comparisons need."""


def _rows(results: Results, seed: int) -> Iterable[tuple[Row, Comparison]]:
    names = list(dict.fromkeys(b.experiment for b in results.blocks))
    scenes = {(b.experiment, b.level) for b in results.blocks if b.experiment in EXPERIMENTS}
    known: Known = {}
    for name, level in sorted(scenes, key=lambda at: (names.index(at[0]), at[1])):
        arms = list(dict.fromkeys(b.arm for b in results.blocks if (b.experiment, b.level) == (name, level)))
        for control, treatment in EXPERIMENTS[name].compared(arms):
            sides = _paired(results.select(name, control, level), results.select(name, treatment, level))
            if sides[0]:
                yield from _pair(results, sides, seed, known)


def _pair(
    results: Results, sides: tuple[list[Block], list[Block]], seed: int, known: Known
) -> Iterable[tuple[Row, Comparison]]:
    control, treatment = sides[0][0], sides[1][0]
    name, level = control.experiment, control.level
    work = {**_work("control", sides[0]), **_work("treatment", sides[1])}
    slo = Slo(**results.configuration.get("slo", {}).get(name, {}))
    for measure in EXPERIMENTS[name].measures:
        taken = [_taken(side, measure, slo) for side in sides]
        counts = [sum(len(unit) for unit in side) for side in taken]
        if min(counts) < measure.least_samples:
            continue
        own = spread_seed(seed, name, measure.name)
        ratio = compare(
            taken[0], taken[1], measure.statistic, seed=own, lower_is_better=measure.lower_is_better
        )
        values: dict[str, Any] = {}
        for side, blocks, units in zip(("control", "treatment"), sides, taken, strict=True):
            key = (name, level, measure.name, blocks[0].arm, tuple(block.round for block in blocks))
            if key not in known:
                known[key] = interval(units, measure.statistic, seed=own)
            told = known[key]
            for end, value in (("value", told.estimate), ("low", told.low), ("high", told.high)):
                values[f"{side}_{end}"] = value * measure.scale
        row = Row(
            experiment=name,
            level=level,
            measure=measure.name,
            unit=measure.unit,
            lower_is_better=measure.lower_is_better,
            control=control.arm,
            treatment=treatment.arm,
            floor=measure.floor * measure.scale,
            ratio=ratio.ratio,
            low=ratio.low,
            high=ratio.high,
            rounds=ratio.blocks,
            detectable=ratio.detectable,
            control_samples=counts[0],
            treatment_samples=counts[1],
            **values,
            **work,
        )
        yield row, ratio


def _taken(blocks: Sequence[Block], measure: Measure, slo: Slo) -> list[list[float]]:
    return pooled([list(measure.take(b, slo)) for b in blocks], [b.incarnation for b in blocks])


def _paired(control: Sequence[Block], treatment: Sequence[Block]) -> tuple[list[Block], list[Block]]:
    """Rounds that both arms have."""
    by_round = {block.round: block for block in treatment}
    both = [(block, by_round[block.round]) for block in control if block.round in by_round]
    return [pair[0] for pair in both], [pair[1] for pair in both]


def _work(side: str, blocks: Sequence[Block]) -> dict[str, Any]:
    """Who asked, how the requests ended, and what was done for an answer."""
    samples = [sample for block in blocks for sample in block.samples]
    answered = [sample for sample in samples if sample.outcome is Outcome.ANSWERED]

    def mean(name: str) -> float:
        return sum(getattr(s, name) for s in answered) / len(answered) if answered else math.nan

    return {
        f"{side}_people": sum(block.people for block in blocks) / len(blocks),
        f"{side}_requests": len(samples),
        f"{side}_lost": len(samples) - len(answered),
        f"{side}_output_tokens": mean("output_tokens"),
        f"{side}_prompt_tokens": mean("prompt_tokens"),
        f"{side}_cached_tokens": mean("cached_tokens"),
    }


def _claims(
    results: Results, found: Mapping[Row, Comparison], faults: Mapping[str, float]
) -> tuple[Judged, ...]:
    planned = results.configuration.get("claims", ())
    rows = {claim.name: _about(claim, found) for claim in CLAIMS if claim.measure}
    asked = {name: row for name, row in rows.items() if name in planned}
    adjusted = dict(
        zip(asked, holm([1.0 if row is None else found[row].p_value for row in asked.values()]), strict=True)
    )
    judged = []
    for claim in CLAIMS:
        if not claim.measure:
            judged.append(_counted(claim, faults, planned=claim.name in planned))
            continue
        row = rows[claim.name]
        said, p_adjusted = Verdict.ABSENT, math.nan
        if claim.name in asked:
            p_adjusted = adjusted[claim.name]
            said = Verdict.UNDECIDED if row is None else _said(row, found[row], p_adjusted)
        judged.append(_judged(claim, row, found, said, p_adjusted=p_adjusted, family=len(asked)))
    return tuple(judged)


def _about(claim: Claim, found: Iterable[Row]) -> Row | None:
    """The row that a claim is about; of the best constant, the one with the strongest constant."""
    mine = [
        row
        for row in found
        if (row.experiment, row.level, row.measure, row.treatment)
        == (claim.experiment, claim.level, claim.measure, claim.treatment)
    ]
    if claim.control == BEST_CONSTANT:
        rivals = [row for row in mine if row.control.startswith("constant_")]
        return max(rivals, key=lambda row: row.control_value, default=None)
    return next((row for row in mine if row.control == claim.control), None)


def _said(row: Row, comparison: Comparison, p_adjusted: float) -> Verdict:
    said = verdict(comparison, p_adjusted)
    lost = [
        lost / asked if asked else 0.0
        for lost, asked in (
            (row.control_lost, row.control_requests),
            (row.treatment_lost, row.treatment_requests),
        )
    ]
    return Verdict.UNDECIDED if said is Verdict.BETTER and lost[1] - lost[0] > MORE_FAILURES else said


def _judged(
    claim: Claim,
    row: Row | None,
    found: Mapping[Row, Comparison],
    said: Verdict,
    *,
    p_adjusted: float,
    family: int,
) -> Judged:
    nan = math.nan
    return Judged(
        name=claim.name,
        experiment=claim.experiment,
        level=claim.level,
        measure=claim.measure,
        control=row.control if row else claim.control,
        treatment=claim.treatment,
        ratio=row.ratio if row else nan,
        low=row.low if row else nan,
        high=row.high if row else nan,
        rounds=row.rounds if row else 0,
        detectable=row.detectable if row else nan,
        p=found[row].p_value if row else nan,
        p_adjusted=p_adjusted,
        family=family,
        verdict=said.value,
        es=claim.es,
        en=claim.en,
    )


def _counted(claim: Claim, faults: Mapping[str, float], *, planned: bool) -> Judged:
    """A promise about counts: kept where something was acknowledged and nothing came of the faults."""
    said = Verdict.UNDECIDED if planned else Verdict.ABSENT
    if faults:
        harmed = faults["lost"] + faults["doubled"]
        said = Verdict.WORSE if harmed else Verdict.BETTER if faults["acknowledged"] else Verdict.UNDECIDED
    judged = _judged(claim, None, {}, said, p_adjusted=math.nan, family=0)
    return replace(judged, rounds=int(faults.get("rounds", 0)))


def _faults(blocks: Sequence[Block]) -> dict[str, float]:
    mine = [block.figures for block in blocks if block.experiment == FAULTS]
    if not mine:
        return {}
    names = ("acknowledged", "lost", "doubled", "faults")
    return {"rounds": float(len(mine)), **{name: sum(each.get(name, 0.0) for each in mine) for name in names}}


def _capacity(results: Results, seed: int) -> dict[str, dict[str, Capacity]]:
    """Of every version that was asked without pauses; who is served in time comes from the people's loads."""
    blocks = [block for block in results.blocks if block.experiment == CAPACITY_OF]
    found: dict[str, Capacity] = {}
    for arm in dict.fromkeys(block.arm for block in blocks):
        units = _taken(results.select(CAPACITY_OF, arm), CAPACITY[0], Slo())
        if any(units):
            own = interval(units, CAPACITY[0].statistic, seed=spread_seed(seed, CAPACITY_OF, arm))
            at = (own.estimate, own.low, own.high, own.blocks)
            found[arm] = Capacity(*at, *_most_people(results, arm))
    return {VISITS: found} if found else {}


def _most_people(results: Results, arm: str) -> tuple[float, float, float]:
    """The largest load at which, and below which, 99 % were in time: people, share, answers a second."""
    slo = Slo(**results.configuration.get("slo", {}).get(VISITS, {}))
    best = (math.nan, math.nan, math.nan)
    levels = sorted({b.level for b in results.blocks if (b.experiment, b.arm) == (VISITS, arm)})
    for level in levels:
        mine = results.select(VISITS, arm, level)
        asked = sum(len(block.samples) for block in mine)
        good = sum(
            len(block.samples) * block.share_in_time(ttft_s=slo.ttft_s, total_s=slo.total_s)
            for block in mine
            if block.samples
        )
        if not asked or good / asked < IN_TIME:
            break
        rate = sum(block.count(Outcome.ANSWERED) for block in mine) / sum(b.duration_s for b in mine)
        best = (sum(block.people for block in mine) / len(mine), level, rate)
    return best


def _shorter(blocks: Sequence[Block]) -> Iterable[Shorter]:
    scenes = [b for b in blocks if b.experiment in {VISITS, RUNGS, SAME, LIVING}]
    places = dict.fromkeys((b.experiment, b.level) for b in scenes)
    for experiment, level in sorted(places):
        here = [b for b in scenes if (b.experiment, b.level) == (experiment, level)]
        sent: dict[str, dict[tuple[int, str, int], int]] = {}
        for block in here:
            sent.setdefault(block.arm, {}).update(_prompts(block))
        own = sent.get("v1", {})
        for arm in sorted(sent):
            both = [(own[key], tokens) for key, tokens in sent[arm].items() if key in own]
            if arm == "v1" or not both:
                continue
            less = sum(tokens < SHORTER * theirs for theirs, tokens in both)
            fifth = sum(tokens < FIFTH * theirs for theirs, tokens in both)
            yield Shorter(experiment, level, arm, len(both), less, fifth)


def _prompts(block: Block) -> dict[tuple[int, str, int], int]:
    """Tokens of each prompt by round, person and question."""
    return {
        (block.round, sample.user, sample.turn): sample.prompt_tokens
        for sample in block.samples
        if sample.user and sample.outcome is Outcome.ANSWERED and sample.prompt_tokens
    }


@dataclass(frozen=True, slots=True)
class Target:
    """A row of the customer's table: their own figures, and the range they hope for."""

    es: str
    en: str
    claim: str
    measure: str
    before_ms: float
    low: float
    high: float

    @property
    def identity(self) -> tuple[str, float, str, str, str]:
        """Of the row that answers it."""
        claim = BY_NAME[self.claim]
        return (claim.experiment, claim.level, self.measure, claim.control, claim.treatment)

    def row(self, summary: Summary) -> Row | None:
        """The row that answers it."""
        return summary.row(*self.identity)


CUSTOMER = (
    Target("Extremo a extremo", "End to end", "people", "end to end p50", 7244, 4.8, 7.2),
    Target("LLM, primer byte", "LLM, first byte", "people", "first token p50", 1213, 1.5, 2.0),
    Target("PostgreSQL", "PostgreSQL", "postgresql", "latency p50", 25, 1.7, 2.5),
    Target("Redis", "Redis", "redis", "latency p50", 1, 1.2, 2.0),
)


def attainment(target: Target, row: Row | None) -> str:
    """`met` when even the low end of the interval reaches the target's low end."""
    if row is None or math.isnan(row.ratio):
        return "not measured"
    if math.isnan(row.low):
        return "too few rounds"
    if row.low >= target.low:
        return "met"
    return "reached, not shown" if row.ratio >= target.low else "missed"
