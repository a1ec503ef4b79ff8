"""The ladder of limits, where a law stands on it, and how long its slots are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fluido.laws._rounds import FEWEST, Slot

FACTOR = 1.4
WORTH = 0.06  # of a step in ln that it must pay: 2 % for a rung
REFERENCE_WORTH = 0.01  # what the reference must do better, in ln
SHORTEST_S, LONGEST_S = 0.125, 8.0
CALLS, LEAP_CALLS = 150, 40
ROUNDS, LEAP_ROUNDS = 6, 3
ROOM = 1.4  # a slot is longer than its calls and rounds need, because its first moments do not count


@dataclass(frozen=True, slots=True)
class Memory:
    """What a law has learned: to be saved, and offered to the next start of the same flow."""

    limit: float
    reference: float


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


class Place:
    """Where a law stands on its ladder; rungs are told by their index.

    `no_lower`, `no_higher`: something else shows that a lower, or a higher, limit need not be tried.
    `remembered` is what is to be tried first.
    """

    __slots__ = ("leader", "no_higher", "no_lower", "reference", "remembered", "rungs", "tie", "worth")

    def __init__(self, ladder: list[int], start: float, *, worth: float, tie: float) -> None:
        self.rungs = ladder
        self.reference = self.leader = self.nearest(start)
        self.remembered: int | None = None
        self.worth = worth
        self.tie = tie
        self.no_lower = self.no_higher = False

    @property
    def limit(self) -> int:
        """What the leader is."""
        return self.rungs[self.leader]

    def nearest(self, limit: float) -> int:
        """The rung next to a limit; the lowest one for what is no limit."""
        if not 1 <= limit < math.inf:
            return 0
        return min(range(len(self.rungs)), key=lambda at: abs(math.log(self.rungs[at] / limit)))

    def is_open(self, arm: int) -> bool:
        """Whether there is such a rung, on a side of the leader that may be tried."""
        barred = self.no_higher if arm > self.leader else self.no_lower
        return 0 <= arm < len(self.rungs) and not barred

    def step(self, arm: int) -> float:
        """ln of a rung over the leader."""
        return math.log(self.rungs[arm] / self.limit)

    def pays(self, arm: int) -> float:
        """What a rung must gain, or, below the leader, may lose, to become the leader; in ln."""
        step = self.step(arm)
        if abs(arm - self.leader) > 1:
            return REFERENCE_WORTH + (self.worth - WORTH) * step  # on a shared server a high one has to pay
        return self.worth * step if step > 0 else self.tie * self.worth * step


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
