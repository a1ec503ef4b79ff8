"""Pairs of slots: the leader in one, another rung in the other; what they said of each rung, and who is next.

Only the leader's neighbours can be better where throughput has one maximum (OSUB, Combes and Proutiere 2014),
so they get the pairs, and the one with the better index first. One that is surely worse is asked ever more
seldom; now and then it is the reference's turn.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fluido.laws._rounds import Slot, WorkMeter, drawn
from fluido.laws._rungs import Place, Tuning

KEEP = 0.97  # of the evidence, at each pair of a rung
REST_COSTS = 0.01  # of the throughput: what it may cost to ask a worse rung again and again
LONGEST_REST = 64  # slots
SURE_AT_ONCE = 2.5  # standard errors of the first pair
REFERENCE_EVERY = 24  # slots
REFERENCE_FIRST = 2  # pairs, when a new leader stands far from it


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


class Pairs:
    """Decides which rung the leader is compared with, and learns from the pair.

    `compared` is the last comparison, for people and metrics.
    """

    __slots__ = (
        "_key",
        "_place",
        "_sure",
        "_turn",
        "_variance",
        "arm",
        "compared",
        "evidence",
        "first",
    )

    def __init__(self, place: Place, tuning: Tuning, key: str) -> None:
        self._place = place
        self._sure = tuning.sure
        self._key = key
        self._turn = 0  # counts what was chosen: pairs, and slots in which nothing is compared
        self._variance = 0.0  # of a pair
        self.arm: int | None = None  # what is compared with the leader now
        self.first: Slot | None = None  # of the pair that is under way
        self.evidence: dict[int, Evidence] = {}
        self.compared: Mapping[str, float] = {}

    @property
    def in_force(self) -> int:
        """The rung for the slot that opens."""
        if self.arm is None or (self.first is not None) == bool(drawn(self._key, self._turn) & 1):
            return self._place.leader
        return self.arm

    def about(self, arm: int) -> Evidence:
        """What is known of a rung."""
        return self.evidence.setdefault(arm, Evidence())

    def is_awake(self, arm: int) -> bool:
        """Whether a rung may be asked again."""
        return self.about(arm).rest_until <= self._turn

    def rest(self, arm: int) -> None:
        """Ask a rung later."""
        self.about(arm).rest(self._turn)

    def drop(self) -> None:
        """Half a pair is no pair."""
        self.arm = self.first = None

    def forget(self) -> None:
        """What was known compared rungs with another leader, or on another server."""
        self.evidence.clear()
        self.drop()

    def choose(self) -> None:
        """Which rung gets the next pair: the neighbour with the better index, now and then the reference."""
        self._turn += 1
        place = self._place
        # The higher one first: while people wait it is the one that can be worth a lot.
        arms = [arm for arm in (place.leader + 1, place.leader - 1) if place.is_open(arm)]
        safe, away = place.reference, place.reference - place.leader
        due = self.about(safe).pairs < REFERENCE_FIRST or self._turn % REFERENCE_EVERY == 0
        if due and abs(away) > 1 and self.is_awake(safe) and not (away > 0 and place.no_higher):
            arms = [safe]
        self.arm = max(filter(self.is_awake, arms), key=self._index, default=None)

    def take(self, slot: Slot, meter: WorkMeter) -> tuple[int, Slot] | None:
        """One slot of a pair ended. The rung that is surely better, with its slot, where there is one."""
        if self.first is None:
            self.first = slot
            return None
        first, arm = self.first, self.arm
        self.drop()
        if arm is None or first.limit == slot.limit:
            return None
        its, mine = (first, slot) if first.limit == self._place.rungs[arm] else (slot, first)
        if not min(its, mine, key=lambda one: one.limit).binding:
            return None
        about = self._learn(self.about(arm), *meter.gain(its, mine))
        index = self._index(arm)
        self.compared = {
            "compared": its.limit,
            "with": mine.limit,
            "gain": math.expm1(about.mean),
            "error": about.error(self._variance),
        }
        sure = self._sure if about.pairs > 1 else SURE_AT_ONCE
        if index <= -sure:
            self.rest(arm)
        return (arm, its) if index >= sure else None

    def turn_round(self, before: int, about: Evidence) -> None:
        """The leader before is a neighbour now, and what was learned of it holds the other way round."""
        weight, square = min(about.weight, 2.0), min(about.square, 2.0)
        self.evidence[before] = Evidence(weight, square, -about.mean, 2)

    def _learn(self, about: Evidence, value: float, counted: float) -> Evidence:
        if about.weight:
            self._variance += 0.05 * (min(1.0, (value - about.mean) ** 2) - self._variance)
        self._variance = self._variance or counted
        about.add(min(max(value, -2.0), 2.0))
        return about

    def _index(self, arm: int) -> float:
        """By how many standard errors a rung is above what it must pay; infinite for one never asked."""
        about = self.about(arm)
        if not about.weight:
            return math.inf
        return (about.mean - self._place.pays(arm)) / max(1e-9, about.error(self._variance))
