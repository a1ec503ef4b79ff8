"""Leaps: two rungs at a time while that pays, at a cold start and when the leader's own rate has shifted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fluido.laws._pairs import Evidence
from fluido.laws._rounds import Slot, WorkMeter
from fluido.laws._rungs import LONGEST_S, Place

PAYS, ERRORS = 0.25, 0.5  # of the step, and standard errors
SHIFT, SHIFT_ERRORS = 0.22, 3.0  # ln: a quarter, and more where slots scatter more


@dataclass(frozen=True, slots=True)
class Landing:
    """Another leader: why, what showed it, and ln of its rate where that is known."""

    reason: str
    compared: Mapping[str, float]
    usual: float | None


class Leap:
    """Goes `way` (1 up, -1 down) from the leader, then, where nothing was won, the other way.

    After a `shift` what was found is believed only when the leader was looked at again: a server that stood
    still for a moment makes anything look better that came next. `evidence` is what was known before the
    shift: pairs compare, so it holds where that was but a moment. The first slot is let pass while calls that
    began under another limit `drain`.
    """

    __slots__ = (
        "_base",
        "_drains",
        "_found",
        "_meter",
        "_place",
        "_shift",
        "_turned",
        "_way",
        "evidence",
        "is_over",
        "paid",
        "target",
    )

    def __init__(
        self,
        place: Place,
        meter: WorkMeter,
        way: int = 1,
        *,
        shift: bool = False,
        drain: bool = False,
        turned: bool = False,
        evidence: Mapping[int, Evidence] | None = None,
    ) -> None:
        self._place = place
        self._meter = meter
        self._way = way
        self._shift = shift
        self._drains = drain
        self._turned = turned
        self.evidence = dict(evidence or {})
        self.paid = self.is_over = False
        self._base: Slot | None = None
        self.target: int | None = None
        self._found: Slot | None = None

    def goes_on(self, slot: Slot) -> "Leap":
        """A pair just found this slot's rung better by as much as a leap pays."""
        self._base, self.paid = slot, True
        self._aim()
        return self

    @property
    def in_force(self) -> int:
        """The rung for the slot that opens."""
        return self._place.leader if self.target is None or self._found else self.target

    def grows_old(self, now_s: float) -> None:
        """What is tried has to be compared with the same time of the day: nobody came to fill it."""
        if self._base is not None and now_s > self._base.until_s + 2 * LONGEST_S:
            self._base = self.target = None

    def look(self, slot: Slot) -> Landing | None:
        """One slot ended: go on, turn round, or be over. The landing, where there was one."""
        target, base = self.target, self._base
        if target is None or base is None:
            if slot.binding and not self._drains:
                self._base = slot
                self._aim()
            self._drains = False
            return None
        if self._found is not None:
            found, self._found, self._base = self._found, None, slot
            if slot.binding and self._does_pay(found, slot, again=True):
                landing = self._land(target, found, slot)
                self._aim()
                return landing
            self.turn_back()
            return None
        if self._does_pay(slot, base) and (slot.limit > base.limit or slot.binding):
            if self._shift and not self.paid:
                self._found = slot
                return None
            landing = self._land(target, slot, base)
            if slot.binding:
                self._aim()
            else:
                self.is_over = True  # the demand ends here
            return landing
        if slot.binding:
            self.turn_back()
            return None
        self.is_over = True
        return self._end_at_demand(target, slot, base)

    def turn_back(self) -> None:
        """What was tried does not pay: the other way, unless that was tried or one leap has paid."""
        if self.paid or self._turned or self._place.no_lower:
            self.is_over = True
            return
        self._turned, self._way = True, -self._way
        if self._shift:
            self._base = self.target = None  # the slot in which it stood still is no measure
        else:
            self._aim()

    def _aim(self) -> None:
        self.target = self._next()
        self.is_over = self.target is None

    def _next(self) -> int | None:
        place = self._place
        remembered, place.remembered = place.remembered, None
        if remembered is not None and remembered != place.leader:
            self._way = 1 if remembered > place.leader else -1
            return remembered
        while True:
            target = min(max(place.leader + 2 * self._way, 0), len(place.rungs) - 1)
            if target != place.leader and place.is_open(target):
                return target
            if self.paid or self._turned:
                return None
            self._turned, self._way = True, -self._way

    def _does_pay(self, slot: Slot, base: Slot, *, again: bool = False) -> bool:
        """Whether the slot did a quarter of the step more, beyond what chance may do; `again`, half of it."""
        value, counted = self._meter.gain(slot, base)
        step = math.log(slot.limit / base.limit)
        least = max(PAYS, self._place.worth if step > 0 else 0.0) * abs(step)
        return value >= (0.5 * least if again else least + ERRORS * math.sqrt(counted))

    def _land(self, target: int, slot: Slot, base: Slot) -> Landing:
        """The target leads from now on, and is what the next leap is compared with."""
        compared = self._compared(slot, base)
        self._place.leader = target
        self.paid, self._base = True, slot
        return Landing("leap", compared, math.log(self._meter.rate(slot)))

    def _end_at_demand(self, target: int, slot: Slot, base: Slot) -> Landing | None:
        """The demand ends between the leader and the target, where nobody waits: as many as were inside."""
        value, _ = self._meter.gain(slot, base)
        if slot.limit <= base.limit or value < self._place.worth * math.log(slot.limit / base.limit):
            return None
        inside = min(slot.mean_inflight, slot.limit)
        place = self._place
        compared = self._compared(slot, base)
        enough = next(at for at in range(target + 1) if place.rungs[at] >= inside)
        place.leader = max(enough, place.leader)
        self.paid = True
        return Landing("demand_ends", compared, None)

    def _compared(self, slot: Slot, base: Slot) -> Mapping[str, float]:
        value, _ = self._meter.gain(slot, base)
        return {"compared": slot.limit, "with": base.limit, "gain": math.expm1(value)}


class Usual:
    """The leader's own rate of late. Off by a quarter, twice on one side: another server, or other work."""

    __slots__ = ("_off", "_rate", "_scatter")

    def __init__(self) -> None:
        self._rate: float | None = None  # ln
        self._scatter = 0.01
        self._off = 0

    def begin(self, rate: float | None) -> None:
        """Another leader, or another server: its rate in ln, if that is known."""
        self._rate, self._off = rate, 0

    def calm(self) -> None:
        """Nothing bound, or a slot says nothing: two in a row it is not."""
        self._off = 0

    def shifted(self, rate: float) -> int:
        """Take the rate (in ln) of one slot; 1 or -1 when it is off that way for the second time."""
        if self._rate is None:
            self._rate = rate
        miss = rate - self._rate
        if abs(miss) <= max(SHIFT, SHIFT_ERRORS * math.sqrt(self._scatter)):
            self._off = 0
            self._rate += 0.2 * miss
            self._scatter += 0.1 * (miss * miss - self._scatter)
            return 0
        way = 1 if miss > 0 else -1
        again, self._off = self._off == way, way
        return way if again else 0
