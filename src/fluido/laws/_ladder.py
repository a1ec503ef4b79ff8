"""How many calls at once: a unimodal bandit over a ladder of limits, the user's constant its safe arm.

The rungs differ by a factor of about 1.4, and the reference (the constant that the user had) is one of them.
While the limit binds, two neighbouring slots of time form a pair: the leader is in force in one, another rung
in the other, in an order drawn by a hash. What they did a second is compared, and the evidence is kept per
rung. Only neighbours of the leader can be better when there is one maximum (OSUB, Combes and Proutiere 2014),
so they get the pairs; one that is surely worse is asked ever more seldom, and now and then it is the
reference's turn. A leader whose own rate shifts by a quarter is another server, or has other work: the
evidence is forgotten, and the leader leaps two rungs at a time while that pays, as it does at the start.
"""

import math
from collections.abc import Mapping

from fluido.laws._base import Decision
from fluido.laws._rounds import FEWEST, BySlots, Meter, Slot, drawn
from fluido.laws._rungs import Evidence, Leap, Memory, Pace, Tuning, rungs, said

WORTH = 0.06  # of a step in ln that it must pay: 2 % for a rung
REFERENCE_WORTH = 0.01  # what the reference must do better, in ln
SURE_AT_ONCE = 2.5  # standard errors of the first pair
LEAST_SCATTER = 0.2  # of what counting alone would scatter: calls that take turns scatter less
LEAP_PAYS, LEAP_ERRORS = 0.25, 0.5  # of the step, and standard errors
SHIFT, SHIFT_ERRORS = 0.22, 3.0  # ln: a quarter, and more where slots scatter more
REFERENCE_EVERY = 24  # slots
REFERENCE_FIRST = 2  # pairs, when a new leader stands far from it
LEAST_ROUNDS = 2.5  # of a leap, by the service times themselves: calls that came together end together
IDLE_S = 600.0


class Ladder(BySlots):
    """Decides an in-flight limit between `floor` and `ceiling`. It begins at `start`, the user's constant.

    `worth` is the share of a step that it must pay: 0.06 where the server is ours alone, 0.7 where others
    deserve their part, because on a plateau what we gain is what they lose. `remembered` is tried first, and
    kept where it beats the start. `tuning` is for other work than statements of a database (an engine's
    tokens). For replicas of one server there is laws/_fleet.py.
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
        remembered: Memory | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        if not (1 <= floor <= start <= ceiling < math.inf):
            raise ValueError(f"need 1 <= floor <= start <= ceiling, not {floor}, {start}, {ceiling}")
        if not 0 < worth < 1:
            raise ValueError(f"need 0 < worth < 1, not {worth}")
        self.floor, self.ceiling = float(floor), float(ceiling)
        self.worth = worth
        low = math.ceil(floor)
        high = max(low, math.floor(ceiling))
        self._rungs = rungs(min(max(round(start), low), high), low, high)
        self._reference = self._leader = self._nearest(start)
        self._remembered = self._nearest(remembered.limit) if remembered else None
        self._key = key
        self._meter = Meter(0.0)
        self._tuning = tuning = tuning or Tuning()
        self._pace = Pace(tuning)
        self._turn = 0  # counts what was chosen: pairs, and slots in which nothing is compared
        self._arm: int | None = None
        self._first: Slot | None = None
        self._evidence: dict[int, Evidence] = {}
        self._variance = 0.0  # of a pair
        self._known: dict[str, int] = {}  # the leader of other work, by its largest class
        self._usual: float | None = None  # ln of the leader's rate, and how it scatters
        self._scatter = 0.01
        self._shifted = 0
        self._leap: Leap | None = Leap(1) if tuning.leaps else None
        self.no_lower = self.no_higher = False
        """Whether something else shows that a lower, or a higher, limit need not be tried."""
        self._stands = False
        self._bound_s = -math.inf
        self._moved: tuple[str, Mapping[str, float]] | None = None
        self.compared: Mapping[str, float] = {}  # the last comparison, for people and metrics
        self._decision = Decision(float(self.limit), "start", {"reference": float(self.reference)})

    @property
    def limit(self) -> int:
        """The leader: the rung that is held when nothing is compared."""
        return self._rungs[self._leader]

    @property
    def reference(self) -> int:
        """The constant that the user had."""
        return self._rungs[self._reference]

    @property
    def words(self) -> str:
        """The limit, the reference, and the last comparison, for a person."""
        return said(self.limit, self.reference, self.compared, leaps=self._leap is not None)

    def memory(self) -> Memory:
        """What to offer to the next start as `remembered`: the leader, or what is still to be tried."""
        best = self._leader if self._remembered is None else self._remembered
        return Memory(float(self._rungs[best]), float(self.reference))

    def leap(self, way: int) -> None:
        """Leap up (1) or down (-1), as something else shows; not where that was just found wrong."""
        arm = self._leader + way
        if self._leap is None and 0 <= arm < len(self._rungs) and self._about(arm).rest_until <= self._turn:
            self._first = self._arm = None
            self._about(arm).rest(self._turn)  # forgotten if it pays
            self._leap = Leap(way, turned=True, shift=True)  # verified: the pace may have changed meanwhile

    # -- slots --

    def _at(self, now_s: float) -> bool:
        slot = self._meter.slot
        if slot is not None and slot.from_s - self._pace.slot_s <= now_s < slot.until_s:
            return False
        if slot is not None and self._waits_for_more(slot, now_s):
            slot.until_s = now_s + min(self._pace.slot_s, self._tuning.shortest_s)
            return True
        self._meter.close()
        if slot is not None and slot.calls >= FEWEST and self._is_other_work(slot):
            pass
        elif (
            slot is None or not slot.sound or not slot.until_s <= now_s < slot.until_s + 2 * self._pace.slot_s
        ):
            # The first call, too few, a gap without calls, a clock that jumped: half a pair is no pair.
            self._first = self._arm = None
            self._shifted = 0
            if self._leap is not None and slot is not None and self._falls_short(slot, now_s):
                self._turn_back(self._leap)  # nearly nothing ends there: no place to wait for more of it
            elif self._leap is not None and self._leap.is_old(now_s):
                self._leap.base = self._leap.target = None
        else:
            self._judge(slot, now_s)
        if slot is not None and slot.calls and (slot.sound or slot.limit == self.limit):
            self._pace.call_rate = slot.call_rate
        self._open(now_s)
        return True

    def _waits_for_more(self, slot: Slot, now_s: float) -> bool:
        """Whether a slot that is over goes on: calls that come in batches, or seldom, are given time."""
        if (
            self._pace.silent(slot, now_s)
            or not slot.until_s <= now_s < slot.opened_s + self._tuning.longest_s
        ):
            return False
        soon = self._leap is not None and now_s - slot.opened_s < LEAST_ROUNDS * slot.mean_service_s
        return slot.calls < FEWEST or soon

    def _falls_short(self, slot: Slot, now_s: float) -> bool:
        return slot.limit != self.limit and self._pace.silent(slot, now_s)

    def _judge(self, slot: Slot, now_s: float) -> None:
        stood, self._stands = self._stands, slot.binding
        if slot.binding:
            self._bound_s = now_s
        else:
            self._shifted = 0
            if now_s - self._bound_s > IDLE_S:
                self._forget_idle(now_s)
        if slot.binding and self._is_another_server(slot):
            return
        if self._leap is not None:
            self._leap_on(self._leap, slot)
        elif self._first is not None:
            first, self._first = self._first, None
            self._compare(first, slot)
        elif self._arm is not None:
            self._first = slot
        elif slot.binding and stood:
            self._choose()  # for the second time: a queue that comes and goes is no reason to try fewer

    def _open(self, now_s: float) -> None:
        at = self._leader
        if self._leap is not None:
            at = at if self._leap.target is None or self._leap.found else self._leap.target
        elif self._arm is not None and (self._first is not None) != bool(drawn(self._key, self._turn) & 1):
            at = self._arm
        limit = self._rungs[at]
        if self._first is None:
            self._pace.resize(limit, self.limit, leaps=self._leap is not None)
        if limit != self.value:
            # A move and the comparison after it come together: the move's reason is the one worth knowing.
            reason, inputs = self._moved or ("compare", self.compared)
            inputs = {**inputs, "limit": float(self.limit), "reference": float(self.reference)}
            self._decision = Decision(float(limit), reason, inputs)
        self._moved = None
        until_s = now_s + self._pace.slot_s
        self._meter.slot = Slot(float(limit), now_s, until_s, self._pace.settle_s(self.limit))

    # -- pairs --

    def _choose(self) -> None:
        """Which rung gets the next pair: the neighbour with the better index, now and then the reference."""
        self._turn += 1
        # The higher one first: while people wait it is the one that can be worth a lot.
        arms = [arm for arm in (self._leader + 1, self._leader - 1) if 0 <= arm < len(self._rungs)]
        arms = [arm for arm in arms if not (self.no_higher if arm > self._leader else self.no_lower)]
        awake = [arm for arm in arms if self._about(arm).rest_until <= self._turn]
        safe = self._about(self._reference)
        due = safe.pairs < REFERENCE_FIRST or self._turn % REFERENCE_EVERY == 0
        high = self._reference > self._leader and self.no_higher
        if abs(self._reference - self._leader) > 1 and not high and safe.rest_until <= self._turn and due:
            awake = [self._reference]
        self._arm = max(awake, key=self._index) if awake else None

    def _about(self, arm: int) -> Evidence:
        return self._evidence.setdefault(arm, Evidence())

    def _index(self, arm: int) -> float:
        """By how many standard errors a rung is above what it must pay; infinite for one never asked."""
        about = self._about(arm)
        if not about.weight:
            return math.inf
        return (about.mean - self._pays(arm)) / max(1e-9, about.error(self._variance))

    def _pays(self, arm: int) -> float:
        """What a rung must gain, or, below the leader, may lose, to become the leader; in ln."""
        step = math.log(self._rungs[arm] / self.limit)
        if abs(arm - self._leader) > 1:
            return REFERENCE_WORTH + (self.worth - WORTH) * step  # on a shared server a high one has to pay
        return self.worth * step if step > 0 else self._tuning.tie * self.worth * step

    def _compare(self, first: Slot, second: Slot) -> None:
        arm, self._arm = self._arm, None
        if arm is None or first.limit == second.limit:
            return
        its, mine = (first, second) if first.limit == self._rungs[arm] else (second, first)
        if not min(its, mine, key=lambda slot: slot.limit).binding:
            return
        value, counted = self._meter.gain(its, mine)
        about = self._about(arm)
        if about.weight:
            self._variance += 0.05 * (min(1.0, (value - about.mean) ** 2) - self._variance)
        self._variance = max(self._variance or counted, LEAST_SCATTER * counted)
        about.add(min(max(value, -2.0), 2.0))
        index = self._index(arm)
        self.compared = {
            "compared": its.limit,
            "with": mine.limit,
            "gain": math.expm1(about.mean),
            "error": about.error(self._variance),
        }
        sure = self._tuning.sure if about.pairs > 1 else SURE_AT_ONCE
        if index >= sure:
            self._move(arm, about, its)
        elif index <= -sure:
            about.rest(self._turn)

    def _move(self, arm: int, about: Evidence, its: Slot) -> None:
        before, step = self._leader, arm - self._leader
        paid = about.mean >= LEAP_PAYS * abs(math.log(self._rungs[arm] / self.limit))
        reason = "more_does_more" if step > 0 else "fewer_do_as_much"
        if abs(step) > 1:
            reason = "reference_better"
        self._lead(arm, None)
        self._evidence[before] = Evidence(min(about.weight, 2.0), min(about.square, 2.0), -about.mean, 2)
        self._moved = (reason, self.compared)
        if paid and abs(step) == 1:
            self._leap = Leap(step, turned=True, paid=True, base=its)
            self._go_on(self._leap)

    def _lead(self, leader: int, usual: float | None) -> None:
        """Another leader, or the same on another server: what was known compared it with something else."""
        self._leader = leader
        self._evidence.clear()
        self._first = self._arm = None
        self._usual, self._shifted = usual, 0

    # -- shifts and leaps --

    def _is_other_work(self, slot: Slot) -> bool:
        """Whether most calls are of other classes than before: then begin where the user was.

        Also where nothing binds: a limit that was learned from other work is worth nothing for this one.
        """
        before, now = self._meter.work(slot)
        if before == now:
            return False
        self._known[before] = self._leader
        self._remembered = self._known.get(now)
        self._lead(self._reference, None)
        self._leap = Leap(1, drain=True)
        self._moved = ("other_work", {"rate": slot.call_rate})
        return True

    def _is_another_server(self, slot: Slot) -> bool:
        """Whether the leader's rate is off by a quarter, for the second time: then begin to leap."""
        if slot.limit != self.limit:
            return False
        rate = math.log(self._meter.rate(slot))
        if self._usual is None:
            self._usual = rate
        miss = rate - self._usual
        if abs(miss) <= max(SHIFT, SHIFT_ERRORS * math.sqrt(self._scatter)):
            self._shifted = 0
            self._usual += 0.2 * miss
            self._scatter += 0.1 * (miss * miss - self._scatter)
            return False
        way = 1 if miss > 0 else -1
        again, self._shifted = self._shifted == way, way
        if not again or self._leap is not None:
            return False
        if not self._tuning.leaps:
            self._lead(self._leader, rate)  # pairs find out, or who knows better calls `leap`
            return True
        self._leap = Leap(way, shift=True, evidence=dict(self._evidence))
        self._lead(self._leader, rate)
        self._leap_on(self._leap, slot)
        self._moved = ("shift", {"rate": slot.call_rate})
        return True

    def _leap_on(self, leap: Leap, slot: Slot) -> None:
        """One slot of a leap ended: go on, turn round, or be done."""
        if leap.target is None or leap.base is None:
            if leap.drain or not slot.binding:
                leap.drain = False
                return
            leap.base = slot
        elif leap.found is not None:
            found, leap.found = leap.found, None
            leap.base = slot
            if not (slot.binding and self._leap_pays(found, slot, again=True)):
                self._turn_back(leap)
                return
            self._land(leap, leap.target, found)
        elif self._leap_pays(slot, leap.base) and (slot.limit > leap.base.limit or slot.binding):
            if leap.shift and not leap.paid:
                leap.found = slot
                return
            self._land(leap, leap.target, slot)
            if not slot.binding:
                self._leap = None  # the demand ends here
                return
        elif slot.binding:
            self._turn_back(leap)
            return
        else:
            self._leap = None
            self._end_at_demand(leap.target, slot, leap.base)
            return
        self._go_on(leap)

    def _leap_pays(self, slot: Slot, base: Slot, *, again: bool = False) -> bool:
        """Whether the slot did a quarter of the step more, beyond what chance may do; `again`, half of it."""
        value, counted = self._leap_gain(slot, base)
        step = math.log(slot.limit / base.limit)
        least = max(LEAP_PAYS, self.worth if step > 0 else 0.0) * abs(step)
        return value >= (0.5 * least if again else least + LEAP_ERRORS * math.sqrt(counted))

    def _leap_gain(self, slot: Slot, base: Slot) -> tuple[float, float]:
        """As of a pair; up, no more than what ended: calls that are still inside have proven nothing."""
        value, counted = self._meter.gain(slot, base)
        if slot.limit > base.limit:
            value = min(value, math.log(self._meter.rate(slot) / self._meter.rate(base)))
        return value, counted

    def _land(self, leap: Leap, target: int, slot: Slot) -> None:
        """The target leads from now on, and is what the next leap is compared with."""
        assert leap.base is not None  # noqa: S101  (narrows the type)
        value, _ = self._leap_gain(slot, leap.base)
        compared = {"compared": slot.limit, "with": leap.base.limit, "gain": math.expm1(value)}
        self._lead(target, math.log(self._meter.rate(slot)))
        self._moved = ("leap", compared)
        leap.paid, leap.base = True, slot

    def _end_at_demand(self, target: int, slot: Slot, base: Slot) -> None:
        """The demand ends between the leader and the target, where nobody waits: as many as were inside."""
        value, _ = self._leap_gain(slot, base)
        if slot.limit > base.limit and value >= self.worth * math.log(slot.limit / base.limit):
            inside = min(slot.mean_inflight, slot.limit)
            compared = {"compared": slot.limit, "with": base.limit, "gain": math.expm1(value)}
            enough = next(at for at in range(target + 1) if self._rungs[at] >= inside)
            self._lead(max(enough, self._leader), None)
            self._moved = ("demand_ends", compared)

    def _turn_back(self, leap: Leap) -> None:
        """What was tried does not pay: the other way, unless that was tried or one leap has paid."""
        if leap.paid or leap.turned or self.no_lower:
            self._leap = None
            if not leap.paid:
                self._evidence |= leap.evidence
            return
        leap.turned, leap.way = True, -leap.way
        if leap.shift:
            leap.base = leap.target = None  # the slot in which it stood still is no measure
        else:
            self._go_on(leap)

    def _go_on(self, leap: Leap) -> None:
        leap.target = self._next(leap)
        if leap.target is None:
            self._leap = None

    def _next(self, leap: Leap) -> int | None:
        remembered, self._remembered = self._remembered, None
        if remembered is not None and remembered != self._leader:
            leap.way = 1 if remembered > self._leader else -1
            return remembered
        while True:
            target = min(max(self._leader + 2 * leap.way, 0), len(self._rungs) - 1)
            if target != self._leader and not (self.no_higher if leap.way > 0 else self.no_lower):
                return target
            if leap.paid or leap.turned:
                return None
            leap.turned, leap.way = True, -leap.way

    def _forget_idle(self, now_s: float) -> None:
        """A limit that did not bind for ten minutes was learned from a server that may have changed."""
        if math.isfinite(self._bound_s) and self._leader != self._reference:
            self._remembered = self._leader
            self._lead(self._reference, None)
            self._leap = Leap(1)
            self._moved = ("idle", {})
        self._bound_s = now_s

    def _nearest(self, limit: float) -> int:
        """The rung next to a limit; to the lowest one for what is no limit."""
        if not 1 <= limit < math.inf:
            return 0
        return min(range(len(self._rungs)), key=lambda at: abs(math.log(self._rungs[at] / limit)))
