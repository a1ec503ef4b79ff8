"""How many calls at once: a unimodal bandit over a ladder of limits, with the user's constant as its safe arm.

The rungs differ by a factor of about 1.4, and the reference (the constant that the user had) is one of them.
While the limit binds, two neighbouring slots of time form a pair: the rung in force in one, another in the
other, in an order drawn by a hash. What they did a second is compared, and evidence is kept per rung. The
bandit (OSUB: only neighbours of the leader can be better when there is one maximum) decides which neighbour
deserves the next pair; one that is surely worse is asked again ever more seldom. A leader whose own rate
shifts by a quarter is another server: forget, and leap by two rungs while that pays.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from fluido.laws.base import Decision
from fluido.laws.mix import OTHERS, Mix
from fluido.laws.rounds import Slot, gain
from fluido.measure import Ewma
from fluido.sample import Outcome, Sample

FACTOR, FLEET_FACTOR = 1.4, 1.25
WORTH = 0.06  # of a step in ln: what it must pay; 2 % for a rung
TIE = 0.75  # of that: what a lower rung may cost
SURE = 1.3  # standard errors
LEAP_PAYS = 0.25  # of the step
SHIFT = 0.22  # ln: a quarter
KEEP = 0.9  # of the evidence of a rung, at each pair
REST_SHARE = 0.01  # of the throughput: what asking a rung again and again may cost
LONGEST_REST = 64  # pairs
REFERENCE_EVERY = 24
TILT = 0.03  # fleet: how much more a rung must pay for each rung above the reference
SHORTEST_S, LONGEST_S, FLEET_S = 0.125, 8.0, 0.5
CALLS, LEAP_CALLS = 150, 40
ROUNDS, LEAP_ROUNDS = 6, 3
IDLE_S = 600.0
MASK = (1 << 64) - 1


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


@dataclass(slots=True)
class Leap:
    """Two rungs at a time: which way first, whether one paid, what is tried and against what."""

    way: int
    turned: bool = False
    paid: bool = False
    base: Slot | None = None
    target: int | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What a law has learned, to be saved and offered to the next start of the same flow."""

    limit: float
    reference: float


def rungs(reference: int, floor: int, ceiling: int, factor: float) -> list[int]:
    """Whole limits from `floor` to `ceiling`, each about `factor` times the one below, `reference` among them."""
    ladder = [reference]
    while ladder[-1] < ceiling:
        ladder.append(min(ceiling, max(ladder[-1] + 1, round(ladder[-1] * factor))))
    if len(ladder) > 2 and ladder[-1] < 1.15 * ladder[-2]:
        del ladder[-2]  # the ceiling is a rung: what is just below it is none
    while ladder[0] > floor:
        ladder.insert(0, max(floor, min(ladder[0] - 1, round(ladder[0] / factor))))
    return ladder


class Ladder:
    """Decides an in-flight limit between `floor` and `ceiling`; it begins at `start`, the user's constant.

    `worth` is the share of a step (in ln) that it must pay: 0.06 where the server is ours alone, 0.5 where
    others deserve their part, because on a plateau what we gain is what they lose. With `fleet`, all replicas
    of one server must have the same `key` and `slot_s`; `wall_offset_s` turns the times of the samples into
    wall-clock time. `remembered` is tried first, and held only where it beats the start.
    ValueError unless 1 <= floor <= start <= ceiling and 0 < worth < 1.
    """

    name = "ladder"

    def __init__(
        self,
        *,
        start: float = 15.0,
        floor: float = 1.0,
        ceiling: float,
        worth: float = WORTH,
        key: str = "",
        fleet: bool = False,
        slot_s: float | None = None,
        wall_offset_s: float = 0.0,
        remembered: Memory | None = None,
    ) -> None:
        if not (1 <= floor <= start <= ceiling < math.inf):
            raise ValueError(f"need 1 <= floor <= start <= ceiling, not {floor}, {start}, {ceiling}")
        if not 0 < worth < 1 or (slot_s is not None and not 0 < slot_s < math.inf):
            raise ValueError(f"need 0 < worth < 1 and a finite slot_s above zero, not {worth}, {slot_s}")
        self.floor, self.ceiling = float(floor), float(ceiling)
        self.worth = worth
        self._low, self._high = math.ceil(floor), max(math.ceil(floor), math.floor(ceiling))
        reference = min(max(round(start), self._low), self._high)
        self._rungs = rungs(reference, self._low, self._high, FLEET_FACTOR if fleet else FACTOR)
        self._reference = self._leader = self._rungs.index(reference)
        self._seed = zlib.crc32(f"{key}/{slot_s!r}".encode())
        self._fleet = fleet
        self._offset_s = wall_offset_s
        self._slot_s = slot_s or (FLEET_S if fleet else SHORTEST_S)
        self._fixed_slot = fleet or slot_s is not None
        self._mix = Mix()
        self._room = Ewma(0.1)
        self._weights: dict[str, float] = {}
        self._slot: Slot | None = None
        self._pair = 0
        self._first: Slot | None = None
        self._arm: int | None = None
        self._evidence: dict[int, Evidence] = {}
        self._variance = 0.0
        self._rate_ln: float | None = None
        self._rate_var = 0.01
        self._shifted = 0
        self._leap: Leap | None = None if fleet else Leap(1)
        self._remembered = self._nearest(remembered.limit) if remembered else None
        self._call_rate = 0.0
        self._bound_s = -math.inf
        self._peak = 0
        self._moved: tuple[str, Mapping[str, float]] | None = None
        self._compared: Mapping[str, float] = {}
        self._decision = Decision(float(reference), "start", {"reference": float(reference)})

    @property
    def value(self) -> float:
        """The limit in force: the leader, or the rung that it is compared with."""
        return self._decision.value

    @property
    def limit(self) -> int:
        """The leader: the rung that is held when nothing is compared."""
        return self._rungs[self._leader]

    @property
    def reference(self) -> int:
        """The constant that the user had."""
        return self._rungs[self._reference]

    def memory(self) -> Memory:
        """What to offer to the next start as `remembered`."""
        return Memory(float(self.limit), float(self.reference))

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from one call that ended."""
        now_s = sample.finished_s + self._offset_s
        service_s = sample.finished_s - sample.started_s
        if not (math.isfinite(now_s) and 0 <= service_s < math.inf):
            return self._decision
        slot = self._slot
        if slot is None or now_s >= slot.until_s or now_s < slot.from_s - self._slot_s:
            self._roll(now_s)
            slot = self._slot
        if sample.outcome is not Outcome.OK or slot is None:
            return self._decision
        units = sample.units if 0 < sample.units < math.inf else 1.0
        self._mix.add(sample.label, service_s / units)
        weight = self._weights.get(sample.label) or self._weights.get(OTHERS) or 1.0
        self._peak = max(self._peak, sample.inflight)
        slot.ended(
            sample.label,
            sample.started_s + self._offset_s,
            now_s,
            sample.inflight,
            sample.limit,
            weight * units,
        )
        return self._decision

    def tick(self, now_s: float, /) -> Decision:
        """Time passed without news: close the slot that ended."""
        if math.isfinite(now_s):
            now_s += self._offset_s
            slot = self._slot
            if slot is None or now_s >= slot.until_s or now_s < slot.from_s - self._slot_s:
                self._roll(now_s)
        return self._decision

    # -- slots --

    def _roll(self, now_s: float) -> None:
        """Close the slot that ended, decide, and open the next one."""
        slot, self._slot = self._slot, None
        if slot is None or not slot.until_s <= now_s < slot.until_s + 2 * self._slot_s:
            # The first call, a gap without calls, a clock that jumped: half a pair is no pair.
            self._first = self._arm = None
        elif not slot.sound:
            self._first = self._arm = None
        else:
            self._close(slot, now_s)
        if slot is not None and slot.calls:
            self._call_rate = slot.calls / slot.length_s
        self._open(now_s)

    def _close(self, slot: Slot, now_s: float) -> None:
        self._room.add(slot.room)
        if slot.binding:
            self._bound_s, self._peak = now_s, 0
        elif now_s - self._bound_s > IDLE_S:
            self._forget_idle(now_s)
        if slot.limit == self.limit and slot.binding and self._watch(slot):
            return
        if self._leap is not None:
            self._leap_on(self._leap, slot)
        elif self._first is not None:
            first, self._first = self._first, None
            self._judge(first, slot)
        elif self._arm is not None:
            self._first = slot
        elif slot.binding:
            self._choose()

    def _open(self, now_s: float) -> None:
        if self._first is None:
            self._resize()
            weights, _ = self._mix.weights(math.inf)
            self._weights = dict(weights)
        length_s = self._slot_s
        if self._fleet:
            from_s = math.floor(now_s / length_s) * length_s
            index = math.floor(now_s / length_s)
            if index % 2 == 0:
                self._first = None
                self._choose_together(index // 2)
            elif self._first is None:
                self._arm = None
        else:
            from_s = now_s
        limit = self.limit
        if self._leap is not None:
            limit = self._rungs[self._leap.target] if self._leap.target is not None else limit
        elif self._arm is not None and self._is_turn(self._first is not None):
            limit = self._rungs[self._arm]
        if limit != self.value:
            # A move and the comparison after it come together: the move's reason is the one worth knowing.
            reason, inputs = self._moved or ("compare", self._compared)
            self._decision = Decision(float(limit), reason, {**inputs, "limit": float(self.limit)})
        self._moved = None
        round_s = self.limit / self._call_rate if self._call_rate else 0.0
        settle_s = min(0.3 * length_s, 1.5 * round_s)
        self._slot = Slot(limit, from_s, from_s + length_s, settle_s)

    def _is_turn(self, second: bool) -> bool:
        """Whether the arm, and not the leader, has this slot of the pair."""
        return second != bool(self._drawn(self._pair) & 1)

    def _drawn(self, number: int) -> int:
        """A number for this pair, the same on every replica (the finaliser of splitmix64)."""
        number = (self._seed ^ number * 0x9E3779B97F4A7C15) & MASK
        number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
        return number ^ (number >> 31)

    def _resize(self) -> None:
        """A slot holds enough calls and enough rounds (Little: a round is limit / rate)."""
        if self._fixed_slot or not self._call_rate:
            return
        leaping = self._leap is not None
        calls, rounds = (LEAP_CALLS, LEAP_ROUNDS) if leaping else (CALLS, ROUNDS)
        limit = self._rungs[self._leap.target] if self._leap and self._leap.target is not None else self.limit
        wanted_s = 1.4 * max(calls, rounds * limit) / self._call_rate
        self._slot_s = min(max(wanted_s, SHORTEST_S), LONGEST_S)

    # -- comparisons --

    def _watch(self, slot: Slot) -> bool:
        """Whether the leader's own rate shifted: another server, or other work."""
        rate_ln = math.log(slot.rate)
        if self._rate_ln is None:
            self._rate_ln = rate_ln
            return False
        miss = rate_ln - self._rate_ln
        if abs(miss) > max(SHIFT, 3 * math.sqrt(self._rate_var)):
            way = 1 if miss > 0 else -1
            again, self._shifted = self._shifted == way, way
            if again and self._leap is None:
                self._restart(way, slot)
                return True
            return False
        self._shifted = 0
        self._rate_ln += 0.2 * miss
        self._rate_var += 0.1 * (miss * miss - self._rate_var)
        return False

    def _restart(self, way: int, slot: Slot) -> None:
        self._forget()
        self._rate_ln = math.log(slot.rate)
        if not self._fleet:
            self._leap = Leap(way)
            self._leap_on(self._leap, slot)
        self._say("shift", {"rate": slot.rate})

    def _forget(self) -> None:
        self._evidence.clear()
        self._first = self._arm = None
        self._rate_ln = None
        self._shifted = 0

    def _choose(self) -> None:
        """Which rung deserves the next pair: the neighbour with the better index, now and then the reference."""
        self._pair += 1
        arms = [arm for arm in (self._leader - 1, self._leader + 1) if 0 <= arm < len(self._rungs)]
        if abs(self._reference - self._leader) > 1 and self._pair % REFERENCE_EVERY == 0:
            arms = [self._reference]
        awake = [arm for arm in arms if self._about(arm).rest_until <= self._pair]
        self._arm = max(awake, key=self._index) if awake else None

    def _choose_together(self, pair: int) -> None:
        """The same direction on every replica, in every second pair: who steps alone sees only his share."""
        self._pair = pair
        drawn = self._drawn(pair) >> 1
        arm = self._leader + (1 if drawn & 1 else -1)
        self._arm = arm if drawn & 2 and 0 <= arm < len(self._rungs) else None

    def _about(self, arm: int) -> Evidence:
        return self._evidence.setdefault(arm, Evidence())

    def _index(self, arm: int) -> float:
        about = self._about(arm)
        if about.weight == 0:
            return math.inf
        return (about.mean - self._line(arm)) / max(1e-9, about.error(self._variance))

    def _line(self, arm: int) -> float:
        """What a rung must gain (or, below the leader, may lose) to become the leader."""
        step = math.log(self._rungs[arm] / self.limit)
        if arm == self._reference and abs(arm - self._leader) > 1:
            return 0.01
        worth = self.worth
        if self._fleet:
            middle = (arm + self._leader) / 2 - self._reference
            worth += TILT * middle
        return worth * step if step > 0 else TIE * worth * step

    def _judge(self, first: Slot, second: Slot) -> None:
        arm, self._arm = self._arm, None
        if arm is None:
            return
        mine, its = (second, first) if first.limit == self._rungs[arm] else (first, second)
        low = mine if mine.limit < its.limit else its
        if not low.binding or mine.limit == its.limit or its.limit != self._rungs[arm]:
            return
        value, counted = gain(its, mine, self._room.value)
        about = self._about(arm)
        if about.weight:
            self._variance += 0.05 * (min(1.0, (value - about.mean) ** 2) - self._variance)
        self._variance = max(self._variance, 0.5 * counted)
        about.add(max(-2.0, min(2.0, value)))
        error = about.error(self._variance)
        index = self._index(arm)
        self._compared = {
            "compared": float(its.limit),
            "with": float(mine.limit),
            "gain": about.mean,
            "error": error,
            "reference": float(self.reference),
        }
        sure = SURE if about.pairs > 1 else 2.5
        if index >= sure:
            self._move(arm, about, its)
        elif index <= -sure and not self._fleet:
            about.rests += 1
            loss = max(0.0, -about.mean) / REST_SHARE / 2
            about.rest_until = self._pair + round(min(LONGEST_REST, max(2.0**about.rests, loss)))
            about.weight *= 0.5
            about.square *= 0.25

    def _move(self, arm: int, about: Evidence, its: Slot) -> None:
        before, step = self._leader, math.log(self._rungs[arm] / self.limit)
        if abs(arm - before) > 1:
            reason = "reference_better"
        else:
            reason = "more_does_more" if arm > before else "fewer_do_as_much"
        self._leader = arm
        mean = about.mean
        self._evidence.clear()
        self._evidence[before] = Evidence(min(about.weight, 2.0), min(about.square, 2.0), -mean, about.pairs)
        self._rate_ln = None
        self._shifted = 0
        self._say(reason, self._compared)
        if mean >= LEAP_PAYS * abs(step) and not self._fleet and abs(arm - before) == 1:
            self._leap = Leap(arm - before, turned=True, paid=True, base=its)
            self._leap_on(self._leap, its)

    # -- leaps --

    def _leap_on(self, leap: Leap, slot: Slot) -> None:
        """One slot of a leap ended: go on, turn round, or be done."""
        if leap.target is None:
            if not slot.binding:
                return
            leap.base = slot
        elif leap.base is not None and slot.limit == self._rungs[leap.target]:
            value, _ = gain(slot, leap.base, self._room.value)
            step = math.log(slot.limit / leap.base.limit)
            if value >= LEAP_PAYS * abs(step):
                self._leader = leap.target
                leap.paid, leap.base = True, slot
                self._forget()
                self._rate_ln = math.log(slot.rate)
                inputs = {"gain": value, "with": math.exp(-step) * slot.limit, "reference": float(self.reference)}
                self._say("leap", inputs)
                if not slot.binding:
                    self._leap = None
                    return
            elif not leap.paid and not leap.turned:
                leap.turned, leap.way = True, -leap.way
            else:
                self._leap = None
                return
        leap.target = self._next(leap)
        if leap.target is None:
            self._leap = None

    def _next(self, leap: Leap) -> int | None:
        remembered, self._remembered = self._remembered, None
        if remembered is not None and abs(remembered - self._leader) > 1:
            leap.way = 1 if remembered > self._leader else -1
            return remembered
        for _ in range(2):
            target = min(max(self._leader + 2 * leap.way, 0), len(self._rungs) - 1)
            if target != self._leader:
                return target
            if leap.paid or leap.turned:
                return None
            leap.turned, leap.way = True, -leap.way
        return None

    # -- words --

    def _forget_idle(self, now_s: float) -> None:
        """A limit that did not bind for ten minutes was learned from a server that may have changed."""
        if math.isfinite(self._bound_s) and self._leader != self._reference:
            self._remembered = self._leader
            self._leader = self._reference
            self._forget()
            self._leap = None if self._fleet else Leap(1)
            self._say("idle", {})
        self._bound_s = now_s

    def _nearest(self, limit: float) -> int | None:
        if not math.isfinite(limit) or limit < 1:
            return None
        return min(range(len(self._rungs)), key=lambda at: abs(math.log(self._rungs[at] / limit)))

    def _say(self, reason: str, inputs: Mapping[str, float]) -> None:
        self._moved = (reason, {**inputs, "reference": float(self.reference)})
