"""How many calls at once: a unimodal bandit over a ladder of limits, the user's constant its safe arm.

The rungs differ by a factor of about 1.4, and the reference (the constant that the user had) is one of them.
While the limit binds, two neighbouring slots of time form a pair (pairs.py): the leader is in force in one,
another rung in the other, in an order drawn by a hash, and what they did a second is compared. A leader whose
own rate shifts by a quarter is another server, or has other work: the evidence is forgotten, and the leader
leaps (leap.py) two rungs at a time while that pays, as it does at the start.
"""

import math
from collections.abc import Mapping

from fluido.laws._base import Decision
from fluido.laws._leap import PAYS, Leap, Usual
from fluido.laws._pairs import Pairs
from fluido.laws._rounds import FEWEST, BySlots, Slot, WorkMeter
from fluido.laws._rungs import WORTH, Memory, Pace, Place, Tuning, rungs, said

LEAST_ROUNDS = 2.5  # of a leap, by the service times themselves: calls that came together end together
IDLE_S = 600.0
LOOK_EVERY = 100  # calls of a slot: whether they are of other work


class Ladder(BySlots):
    """Decides an in-flight limit between `floor` and `ceiling`. It begins at `start`, the user's constant.

    `worth` is the share of a step that it must pay: 0.06 where the server is ours alone, 0.7 where others
    deserve their part, because on a plateau what we gain is what they lose. `remembered` is tried first, and
    kept where it beats the start. `tuning` is for other work than statements of a database (an engine's
    tokens). For replicas of one server there is laws/fleet.py.
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
        self.floor, self.ceiling, self.worth = float(floor), float(ceiling), worth
        low = math.ceil(floor)
        high = max(low, math.floor(ceiling))
        self._tuning = tuning = tuning or Tuning()
        ladder = rungs(min(max(round(start), low), high), low, high)
        self.place = Place(ladder, start, worth=worth, tie=tuning.tie)
        if remembered is not None:
            self.place.remembered = self.place.nearest(remembered.limit)
        self._meter = WorkMeter(0.0)
        self._pace = Pace(tuning)
        self._pairs = Pairs(self.place, tuning, key)
        self._leap = Leap(self.place, self._meter) if tuning.leaps else None
        self._usual = Usual()
        self._known: dict[str, int] = {}  # the leader of other work, by its largest class
        self._stands = False  # whether the slot before was binding as well
        self._bound_s = -math.inf
        self._moved: tuple[str, Mapping[str, float]] | None = None
        self._decision = Decision(float(self.limit), "start", {"reference": float(self.reference)})

    @property
    def limit(self) -> int:
        """The leader: the rung that is held when nothing is compared."""
        return self.place.limit

    @property
    def reference(self) -> int:
        """The constant that the user had."""
        return self.place.rungs[self.place.reference]

    @property
    def compared(self) -> Mapping[str, float]:
        """The last comparison, for people and metrics."""
        return self._pairs.compared

    @property
    def words(self) -> str:
        """The limit, the reference, and the last comparison, for a person."""
        return said(self.limit, self.reference, self.compared, leaps=self._leap is not None)

    def memory(self) -> Memory:
        """What to offer to the next start as `remembered`: the leader, or what is still to be tried."""
        place = self.place
        best = place.leader if place.remembered is None else place.remembered
        return Memory(float(place.rungs[best]), float(self.reference))

    def leap(self, way: int) -> None:
        """Leap up (1) or down (-1), as something else shows; not where that was just found wrong."""
        arm = self.place.leader + way
        if self._leap is None and 0 <= arm < len(self.place.rungs) and self._pairs.is_awake(arm):
            self._pairs.drop()
            self._pairs.rest(arm)  # forgotten if it pays
            self._leap = self._leaps(way, turned=True, shift=True)  # the pace may have changed meanwhile

    def _leaps(self, way: int = 1, *, turned: bool = False, shift: bool = False, drain: bool = False) -> Leap:
        return Leap(self.place, self._meter, way, turned=turned, shift=shift, drain=drain)

    # -- slots --

    def _at(self, now_s: float) -> bool:
        slot, slot_s = self._meter.slot, self._pace.slot_s
        if slot is not None and slot.from_s - slot_s <= now_s < slot.until_s:
            if not slot.calls or slot.calls % LOOK_EVERY or not self._meter.is_other(slot):
                return False
            slot.until_s = now_s  # slots of much in flight are long where little ends
        if slot is not None and self._waits_for_more(slot, now_s):
            slot.until_s = now_s + min(slot_s, self._tuning.shortest_s)
            return True
        self._meter.close()
        if slot is not None and slot.calls >= FEWEST and self._is_other_work(slot):
            pass
        elif slot is None or not slot.sound or not slot.until_s <= now_s < slot.until_s + 2 * slot_s:
            # The first call, too few, a gap without calls, a clock that jumped.
            self._pairs.drop()
            self._usual.calm()
            if self._leap is not None:
                if slot is not None and slot.limit != self.limit and self._pace.silent(slot, now_s):
                    self._leap.turn_back()  # nearly nothing ends there: no place to wait for more of it
                    self._end_leap(self._leap)
                else:
                    self._leap.grows_old(now_s)
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

    def _judge(self, slot: Slot, now_s: float) -> None:
        stood, self._stands = self._stands, slot.binding
        if slot.binding:
            self._bound_s = now_s
            if slot.limit == self.limit and self._is_another_server(slot):
                return
        else:
            self._usual.calm()
            if now_s - self._bound_s > IDLE_S:
                self._forget_idle(now_s)
        if self._leap is not None:
            self._leap_on(self._leap, slot)
        elif self._pairs.arm is not None:
            better = self._pairs.take(slot, self._meter)
            if better is not None:
                self._move(*better)
        elif slot.binding and stood:
            self._pairs.choose()  # for the second time: a queue that comes and goes is no reason to try fewer

    def _open(self, now_s: float) -> None:
        at = self._pairs.in_force if self._leap is None else self._leap.in_force
        limit = self.place.rungs[at]
        if self._pairs.first is None:
            self._pace.resize(limit, self.limit, leaps=self._leap is not None)
        if limit != self.value:
            # A move and the comparison after it come together: the move's reason is the one worth knowing.
            reason, inputs = self._moved or ("compare", self.compared)
            inputs = {**inputs, "limit": float(self.limit), "reference": float(self.reference)}
            self._decision = Decision(float(limit), reason, inputs)
        self._moved = None
        until_s = now_s + self._pace.slot_s
        self._meter.slot = Slot(float(limit), now_s, until_s, self._pace.settle_s(self.limit))

    # -- another leader --

    def _move(self, arm: int, its: Slot) -> None:
        """A pair has found a better rung."""
        place, about = self.place, self._pairs.about(arm)
        before, step = place.leader, arm - place.leader
        paid = about.mean >= PAYS * abs(place.step(arm))
        reason = "more_does_more" if step > 0 else "fewer_do_as_much"
        self._moved = (reason if abs(step) == 1 else "reference_better", self.compared)
        self._lead(arm, None)
        self._pairs.turn_round(before, about)
        if paid and abs(step) == 1:
            self._leap = self._leaps(step, turned=True).goes_on(its)
            self._end_leap(self._leap)

    def _lead(self, leader: int, usual: float | None) -> None:
        """Another leader, or the same on another server: what was known compared it with something else."""
        self.place.leader = leader
        self._pairs.forget()
        self._usual.begin(usual)

    def _leap_on(self, leap: Leap, slot: Slot) -> None:
        landing = leap.look(slot)
        if landing is not None:
            self._lead(self.place.leader, landing.usual)
            self._moved = (landing.reason, landing.compared)
        self._end_leap(leap)

    def _end_leap(self, leap: Leap) -> None:
        if leap.is_over:
            self._leap = None
            if not leap.paid:
                self._pairs.evidence |= leap.evidence

    # -- other work, another server, nobody there --

    def _is_other_work(self, slot: Slot) -> bool:
        """Whether most calls are of other classes than before: then begin where the user was.

        Also where nothing binds: a limit that was learned from other work is worth nothing for this one.
        """
        before, now = self._meter.work(slot)
        if before == now:
            return False
        self._known[before] = self.place.leader
        self.place.remembered = self._known.get(now)
        self._lead(self.place.reference, None)
        self._leap = self._leaps(drain=True)
        self._moved = ("other_work", {"rate": slot.call_rate})
        return True

    def _is_another_server(self, slot: Slot) -> bool:
        """Whether the leader's rate is off by a quarter, for the second time: then begin to leap."""
        rate = math.log(self._meter.rate(slot))
        way = self._usual.shifted(rate)
        if not way or self._leap is not None:
            return False
        known = dict(self._pairs.evidence)
        self._lead(self.place.leader, rate)
        if self._tuning.leaps:  # otherwise pairs find out, or who knows better calls `leap`
            self._leap = Leap(self.place, self._meter, way, shift=True, evidence=known)
            self._leap_on(self._leap, slot)
            self._moved = ("shift", {"rate": slot.call_rate})
        return True

    def _forget_idle(self, now_s: float) -> None:
        """A limit that did not bind for ten minutes was learned from a server that may have changed."""
        if math.isfinite(self._bound_s) and self.place.leader != self.place.reference:
            self.place.remembered = self.place.leader
            self._lead(self.place.reference, None)
            self._leap = self._leaps()
            self._moved = ("idle", {})
        self._bound_s = now_s
