"""The ladder of limits, what is known about its rungs, and what a law remembers of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fluido.laws._rounds import FEWEST, Slot

FACTOR = 1.4
KEEP = 0.97  # of the evidence, at each pair of a rung
REST_COSTS = 0.01  # of the throughput: what it may cost to ask a worse rung again and again
LONGEST_REST = 64  # slots
SHORTEST_S, LONGEST_S = 0.125, 8.0
CALLS, LEAP_CALLS = 150, 40
ROUNDS, LEAP_ROUNDS = 6, 3
ROOM = 1.4  # a slot is longer than its calls and rounds need, because its first moments do not count


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
    """Two rungs at a time: which way, whether it turned or paid, what is tried and against what.

    `found` is what the slot on the target did, while the leader is looked at again before it is believed:
    after a `shift`, because a server that stood still for a moment makes anything look better that came next.
    `evidence` is what was known before it: pairs compare, so it holds where the shift was but a moment. The
    first slot is let pass while calls that began under another limit `drain`.
    """

    way: int
    shift: bool = False
    drain: bool = False
    evidence: dict[int, Evidence] = field(default_factory=dict)
    turned: bool = False
    paid: bool = False
    base: Slot | None = None
    target: int | None = None
    found: Slot | None = None

    def is_old(self, now_s: float) -> bool:
        """Whether what is tried has to be compared with another time of the day: nobody came to fill it."""
        return self.base is not None and now_s > self.base.until_s + 2 * LONGEST_S


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a ladder compares.

    A slot holds so many calls (or pieces of work), and is neither shorter nor longer than that. `tie` is the
    part of what a step must pay that a lower rung may cost (below 0: that it must gain), `sure` how many
    standard errors make a move. Without `leaps` it does not begin with one.
    """

    calls: int = CALLS
    shortest_s: float = SHORTEST_S
    longest_s: float = LONGEST_S
    tie: float = 0.75
    sure: float = 1.3
    leaps: bool = True


class Pace:
    """How long a slot lasts: for so many calls, and rounds (by Little's law a round takes limit / rate)."""

    __slots__ = ("call_rate", "slot_s", "tuning")

    def __init__(self, tuning: Tuning) -> None:
        self.tuning = tuning
        self.slot_s = tuning.shortest_s
        self.call_rate = 0.0  # of the leader

    def resize(self, limit: int, leader: int, *, leaps: bool) -> None:
        """For the next slot, or pair of slots, in which `limit` is in force."""
        if not self.call_rate:
            return
        if leaps:
            room = 1.0 if limit > leader else ROOM  # lower, the limit is reached as calls leave
            wanted_s = room * max(LEAP_CALLS, LEAP_ROUNDS * min(limit, leader)) / self.call_rate
        else:
            wanted_s = ROOM * max(self.tuning.calls, ROUNDS * limit) / self.call_rate
        self.slot_s = min(max(wanted_s, self.tuning.shortest_s), self.tuning.longest_s)

    def settle_s(self, leader: int) -> float:
        """What does not count at the beginning of a slot."""
        round_s = leader / self.call_rate if self.call_rate else math.inf
        return min(0.3 * self.slot_s, 1.5 * round_s)

    def silent(self, slot: Slot, now_s: float) -> bool:
        """Whether the leader would have done three times as much by now as what is too little to judge."""
        return slot.calls < FEWEST and self.call_rate * (now_s - slot.from_s) >= 3 * FEWEST


def said(limit: float, reference: float, compared: Mapping[str, float], *, leaps: bool) -> str:
    """The limit, the reference, and the last comparison, for a person."""
    base = f"{limit:.0f} at a time; the reference is {reference:.0f}."
    if leaps:
        return f"{base} Values far apart are tried: this work is new here, or its pace has changed."
    if not compared:
        return f"{base} Too few had to wait for a comparison with another value."
    gain = compared["gain"]
    return (
        f"{base} Last comparison: {compared['compared']:.0f} at a time did {abs(gain):.1%} "
        f"{'more' if gain >= 0 else 'less'} than {compared['with']:.0f}, "
        f"give or take {compared['error']:.1%}."
    )
