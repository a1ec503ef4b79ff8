"""The day as a whole, from its phases: each arm's share of what the best constant of each phase does."""

import statistics
from collections.abc import Sequence

from bench.catalogue import DAY, ORACLE, PHASES, WHOLE_DAY
from bench.samples import Block

FREE = ("quiet",)
"""Phases in which no limit binds: they are shown, and left out of the mean."""
BINDING = tuple(float(at) for at, name in enumerate(PHASES, start=1) if name not in FREE)


def whole_days(blocks: Sequence[Block]) -> list[Block]:
    """One more block of each arm for each day that is complete, at `WHOLE_DAY`, and the oracle's.

    `share`: the mean over the binding phases of the calls done over the oracle's, who holds the constant that
    did most in that phase over all days. `p95_s`: the geometric mean of the phases' p95.
    """
    rates: dict[tuple[str, float], list[float]] = {}
    by: dict[tuple[str, int, float], Block] = {}
    for block in blocks:
        rates.setdefault((block.arm, block.level), []).append(block.figures["per_s"])
        by[block.arm, block.round, block.level] = block
    constants = sorted({block.arm for block in blocks if block.arm.startswith("constant_")})
    levels = [level for level in BINDING if any((arm, level) in rates for arm in constants)]
    if len(levels) < len(BINDING):
        return []
    best = {
        level: max(
            (arm for arm in constants if (arm, level) in rates),
            key=lambda a: statistics.fmean(rates[a, level]),
        )
        for level in levels
    }
    made: list[Block] = []
    for number in sorted({block.round for block in blocks}):
        oracle = {level: by.get((best[level], number, level)) for level in levels}
        if any(found is None or found.figures["per_s"] <= 0 for found in oracle.values()):
            continue
        held = {level: found for level, found in oracle.items() if found is not None}
        for arm in sorted({block.arm for block in blocks}):
            mine = {level: by.get((arm, number, level)) for level in levels}
            done = {level: found for level, found in mine.items() if found is not None}
            if len(done) == len(levels):
                made.append(_whole(arm, done, held))
        made.append(_whole(ORACLE, held, held))
    return made


def _whole(arm: str, done: dict[float, Block], oracle: dict[float, Block]) -> Block:
    first = done[min(done)]
    shares = [block.figures["per_s"] / oracle[level].figures["per_s"] for level, block in done.items()]
    p95_s = [max(1e-9, block.figures["p95_s"]) for block in done.values()]
    rates = [block.figures["per_s"] for block in done.values()]
    return Block(
        experiment=DAY,
        arm=arm,
        level=WHOLE_DAY,
        round=first.round,
        position=first.position,
        warm_up=False,
        busy=any(block.busy for block in done.values()),
        busy_before=max(block.busy_before for block in done.values()),
        steal=max(block.steal for block in done.values()),
        load_1m=first.load_1m,
        duration_s=sum(block.duration_s for block in done.values()),
        samples=(),
        figures={
            "share": statistics.fmean(shares),
            "p95_s": statistics.geometric_mean(p95_s),
            "per_s": statistics.geometric_mean([max(1e-9, rate) for rate in rates]),
        },
        incarnation=first.incarnation,
        people=first.people,
    )
