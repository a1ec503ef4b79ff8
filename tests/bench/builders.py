"""Results made up for tests: one of every experiment, with ratios that are known."""

import math
import random
from collections.abc import Mapping
from typing import Any

from bench.catalogue import (
    CAPACITY_OF,
    CELLS,
    DAY,
    FAULTS,
    FIRST_SECONDS,
    LAW,
    LIVING,
    MEMORY,
    PHASES,
    POSTGRESQL,
    REDIS,
    RUNGS,
    SAME,
    STATIONARY,
    STOCK,
    VISITS,
    constant,
)
from bench.samples import Block, Outcome, Results, Sample, Timeline

ENVIRONMENT = {
    "started_at": "2026-01-01T00:00:00+00:00", "python": "CPython 3.11", "system": "Linux", "cpu": "x",
    "cores": 2, "memory_gb": 4.0, "commit": "abc", "dirty": False, "versions": {"numpy": "2"},
}  # fmt: skip
LATENCY_S = {
    "v1": 1.0, "v1_again": 1.0, "v1_tuned": 0.8, "v1_best": 0.5, "v1_history": 0.8, "v1_history_one": 0.45,
    "v2_constants": 0.36, "v2_whole": 0.36, "v2": 1 / 3, "v2_again": 1 / 3, "pipelines": 0.6,
}  # fmt: skip
"""What an answer takes; V2 is three times as fast as V1."""
PER_S = {"v1": 12.0, "v1_best": 20.0, "v2_constants": 23.0, "v2_whole": 24.0, "v2": 25.0}
CONSTANTS = (4, 15, 50)


def block(
    experiment: str,
    arm: str,
    number: int,
    *,
    level: float = 1.0,
    seconds: float | None = None,
    lost: int = 0,
    requests: int = 50,
    people: int = 0,
    prompt_tokens: int = 400,
    figures: Mapping[str, float] | None = None,
    warm_up: bool = False,
) -> Block:
    """Answers of about `seconds` (None: no requests at all) by persons in turn, and `lost` refusals."""
    source = random.Random(f"{experiment}{arm}{level}{number}")
    samples = []
    drift = source.uniform(0.95, 1.05)
    for n in range(requests if seconds is not None else 0):
        assert seconds is not None
        whole = seconds * drift * source.uniform(0.8, 1.2)
        answered = (n / 10, n / 10, n / 10 + whole, Outcome.ANSWERED, n / 10 + whole / 3, 24, "", 0.01, 0.001)
        samples.append(Sample(*answered, prompt_tokens, prompt_tokens // 2, f"person-{n % 25}", n // 25))
    samples += [Sample(n, n, n + 0.001, Outcome.REFUSED, user=f"person-{n}") for n in range(lost)]
    measured = (level, number, 0, warm_up, False, 0.0, 0.0, 0.5, requests / 10, tuple(samples))
    return Block(experiment, arm, *measured, dict(figures or {}), incarnation=number, people=people)


def results(
    rounds: int = 9, *, speed: float = 3.0, lost: int = 0, claims: tuple[str, ...] = ("people",)
) -> Results:
    """V1 and a V2 that is `speed` times as fast; one warm-up round in which V2 looks terrible."""
    blocks = [
        block(VISITS, "v1", 0, level=0.8, seconds=1.0, warm_up=True),
        block(VISITS, "v2", 0, level=0.8, seconds=100.0, warm_up=True),
    ]
    for number in range(rounds):
        blocks += [
            block(VISITS, "v1", number, level=0.8, seconds=1.0, people=200),
            block(VISITS, "v2", number, level=0.8, seconds=1.0 / speed, lost=lost, people=400),
        ]
    return Results(dict(ENVIRONMENT), _configuration(claims), blocks, complete=True)


def whole_run(rounds: int = 8, *, seed: int = 0) -> Results:
    """Every experiment of a full run. Another `seed` is another run of the same."""
    blocks: list[Block] = []
    for number in range(rounds):
        blocks += _people(number, seed) + _turns(number, seed) + _database(number, seed)
    blocks += [
        block(FAULTS, "v2", 0, figures={"acknowledged": 400.0, "lost": 0.0, "doubled": 0.0, "faults": 6.0}),
        *(
            block(MEMORY, arm, number, figures={"right": right})
            for number in range(5)
            for arm, right in (("v1", 0.0), ("v2", 0.6))
        ),
    ]
    claims = ("day", "people", "postgresql", "redis", "faults")
    made = Results(dict(ENVIRONMENT), _configuration(claims), blocks, ["a note"], complete=True)
    made.timelines.append(day_timeline())
    return made


def day_timeline() -> Timeline:
    """What the law did over a day: a limit that moves, its reference, and why."""
    at_s = [number / 2 for number in range(20 * len(PHASES))]
    limits = [15 + 30 * math.sin(at / 7) ** 2 for at in at_s]
    starts = [(10.0 * number, f"phase {name}") for number, name in enumerate(PHASES)]
    moves = [(4.0, "more_does_more"), (22.0, "leap"), (51.0, "fewer_do_as_much"), (62.0, "shift")]
    return Timeline(
        DAY, LAW, 0, at_s, {"limit": limits, "reference": [x * 0.9 for x in limits]}, [*starts, *moves]
    )


def _people(number: int, seed: int) -> list[Block]:
    made = []
    ladder = ("v1", "v1_history", "v1_history_one", "v2_constants", "v2")
    for arm, rate in PER_S.items():
        source = random.Random(f"{arm}{number}{seed}")
        per_s = rate * source.uniform(0.97, 1.03)
        made.append(block(CAPACITY_OF, arm, number, figures={"per_s": per_s}, people=300))
        for level, slower in ((0.5, 0.6), (0.8, 1.0), (1.0, 5.0)):
            tokens = 400 if arm != "v2" or number else 300
            made.append(
                block(
                    *(VISITS, arm, number + 100 * seed),
                    level=level,
                    seconds=slower * LATENCY_S[arm],
                    people=round(30 * level * rate),
                    prompt_tokens=tokens,
                )
            )
    same = ("v1", "v1_again", "v2", "v2_again")
    made += [
        block(name, arm, number + 100 * seed, level=0.8, seconds=LATENCY_S[arm], people=288)
        for name, arms in ((RUNGS, ladder), (SAME, same))
        for arm in arms
    ]
    for arm in ("v1", "v1_best", "v2"):
        for living in (8.0, 32.0, 128.0, 512.0):
            known = {"cached_share": 0.9 if arm == "v2" and living < 100 else 0.3}
            gain = 1.0 if living < 100 else 2.5
            seconds = LATENCY_S[arm] * (gain if arm != "v1" else 1.0)
            made.append(
                block(
                    *(LIVING, arm, number + 100 * seed),
                    level=living,
                    seconds=seconds,
                    people=int(living),
                    figures=known,
                )
            )
    return made


def _turns(number: int, seed: int) -> list[Block]:
    made = []
    for experiment, arms, people in (
        (POSTGRESQL, ("v1", "v1_tuned", "v2"), 60),
        (REDIS, ("v1", "v1_tuned", "pipelines", "v2"), 64),
    ):
        for arm in arms:
            seconds = LATENCY_S[arm] / 50
            made.append(
                block(
                    *(experiment, arm, number + 100 * seed),
                    seconds=seconds,
                    requests=400,
                    people=people,
                    figures={"cpu_us": 200.0},
                )
            )
    return made


def _database(number: int, seed: int) -> list[Block]:
    """Each constant is best in a third of the phases and reaches 60 % elsewhere; the law 95 % everywhere."""
    made = []
    source = random.Random(f"database{number}{seed}")

    def cell(experiment: str, arm: str, level: float, share: float) -> Block:
        rate = 1000.0 * share * source.uniform(0.98, 1.02)
        figures = {"per_s": rate, "p95_s": 0.1 / share}
        return block(experiment, arm, number + 100 * seed, level=level, figures=figures, people=100)

    for at in range(1, len(PHASES) + 1):
        for rank, size in enumerate(CONSTANTS):
            made.append(cell(DAY, constant(size), float(at), 1.0 if at % 3 == rank else 0.6))
        made.append(cell(DAY, LAW, float(at), 0.95))
    for at in range(1, len(CELLS) + 1):
        made += [
            cell(STATIONARY, constant(size), float(at), 1.0 if size == CONSTANTS[1] else 0.7)
            for size in CONSTANTS
        ]
        made += [cell(STATIONARY, STOCK, float(at), 0.9), cell(STATIONARY, LAW, float(at), 0.98)]
        made += [
            cell(STATIONARY, STOCK, at + FIRST_SECONDS, 0.9),
            cell(STATIONARY, LAW, at + FIRST_SECONDS, 0.91),
        ]
    return made


def _configuration(claims: tuple[str, ...]) -> dict[str, Any]:
    profile = {"name": "x", "engine": "synthetic", "seed": 1}
    slo = {name: {"ttft_s": 1.0, "total_s": 4.0} for name in (VISITS, SAME, RUNGS, LIVING)}
    tuned = {
        name: {"chosen": chosen, "per_s": {"0": 9.0, str(chosen): 11.0}}
        for name, chosen in (("pool_size", 10), ("pipeline", 16), ("in_flight", 1), ("exchanges", 100))
    }
    return {"profile": profile, "claims": list(claims), "slo": slo, "tuned": tuned}
