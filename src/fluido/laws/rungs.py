"""The ladder of limits, what is known about its rungs, and what a law remembers of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fluido.laws.rounds import Slot

FACTOR = 1.4
KEEP = 0.97  # of the evidence, at each pair of a rung
REST_COSTS = 0.01  # of the throughput: what it may cost to ask a worse rung again and again
LONGEST_REST = 64  # slots


@dataclass(frozen=True, slots=True)
class Memory:
    """What a law has learned: to be saved, and offered to the next start of the same flow."""

    limit: float
    reference: float


@dataclass(slots=True)
class Evidence:
    """What the pairs said about one rung against the leader: a forgetting mean of ln(throughput ratio)."""

    weight: float = 0.0
    square: float = 0.0
    mean: float = 0.0
    pairs: int = 0
    rests: int = 0
    rest_until: int = 0

    def add(self, value: float) -> None:
        """One more pair."""
        self.pairs += 1
        self.weight = KEEP * self.weight + 1.0
        self.square = KEEP * KEEP * self.square + 1.0
        self.mean += (value - self.mean) / self.weight

    def error(self, variance: float) -> float:
        """Standard error of the mean, when a pair has this variance."""
        return math.sqrt(variance * self.square) / self.weight if self.weight else math.inf

    def rest(self, now: int) -> None:
        """Surely worse: ask again after 2, 4, 8 ... slots, or as its loss allows, and believe less then."""
        self.rests += 1
        costs = -self.mean / 2 / REST_COSTS
        self.rest_until = now + round(min(LONGEST_REST, max(2.0**self.rests, costs)))
        self.weight *= 0.5
        self.square *= 0.25


def rungs(reference: int, floor: int, ceiling: int) -> list[int]:
    """Whole limits from `floor` to `ceiling`, each FACTOR times the one below, `reference` among them."""
    ladder = [reference]
    while ladder[-1] < ceiling:
        ladder.append(min(ceiling, max(ladder[-1] + 1, round(ladder[-1] * FACTOR))))
    if len(ladder) > 2 and ladder[-1] < 1.15 * ladder[-2]:
        del ladder[-2]  # the ceiling is a rung: what is just below it is none
    while ladder[0] > floor:
        ladder.insert(0, max(floor, min(ladder[0] - 1, round(ladder[0] / FACTOR))))
    return ladder


@dataclass(slots=True)
class Leap:
    """Two rungs at a time: which way, whether it turned or paid, what is tried and against what."""

    way: int
    turned: bool = False
    paid: bool = False
    base: Slot | None = None
    target: int | None = None


def said(limit: int, reference: int, compared: Mapping[str, float], *, leaps: bool) -> str:
    """The limit, the reference, and the last comparison, for a person."""
    base = f"{limit} at a time; the reference is {reference}."
    if leaps:
        return f"{base} It leaps: nothing is known of this work here, or its pace has changed."
    if not compared:
        return f"{base} Nobody had to wait long enough to compare it with another limit."
    gain = compared["gain"]
    return (
        f"{base} Last comparison: {compared['compared']:.0f} at a time did {abs(gain):.1%} "
        f"{'more' if gain >= 0 else 'less'} than {compared['with']:.0f}, "
        f"give or take {compared['error']:.1%}."
    )
