"""The limit of one replica among several: all of them step together, and learn from their common step.

A lone climber on a shared server sees only its share of what it does to it, so replicas that probe each on
their own all think that growth is free, and run away together. So time is cut into slots of one length by
the wall clock; in each pair of slots everybody has a little more in one and a little less in the other, in
an order drawn by a hash that is the same for all, and each learns how much throughput the common step was
worth. Without messages, steps that multiply never make equals of unequals: near the best limit steps up add
and steps down multiply (Chiu and Jain 1989), and every step leans a little towards the reference, which all
replicas share.
"""

import math
from collections.abc import Mapping

from fluido._measure import clip
from fluido.laws._base import Decision
from fluido.laws._rounds import BySlots, Slot, WorkMeter, drawn
from fluido.laws._rungs import said

SLOT_S = 0.5
PROBE, LEAST_PROBE = 0.12, 0.4  # ln; calls
LEAST_CONTRAST = 0.05  # ln of the two in-flights: closer together they show noise
WORTH = 0.13  # of a step in ln that it must pay
KEEP = 0.75
GAIN, UP, DOWN = 0.15, 0.5, 0.35  # ln, a pair
NEAR = 0.5  # worth of a step, below which steps up add
LEAN = 0.03  # of the way to the reference, a pair
FORGET = 0.15  # ln: a move as large leaves a third of the evidence


class Fleet(BySlots):
    """Decides the in-flight limit of one of several replicas, between `floor` and `ceiling`.

    All replicas of one server must have the same `key`, `slot_s` and `reference` (the user's constant for one
    replica; the start unless given). `wall_offset_s` turns the times of the samples into wall-clock time.
    `worth` is 0.13 where the server is ours, 0.5 where others deserve their part.
    ValueError unless 1 <= floor <= start <= ceiling, 0 < worth < 1 and slot_s is above zero.
    """

    name = "fleet"

    def __init__(
        self,
        *,
        start: float = 15.0,
        floor: float = 1.0,
        ceiling: float,
        reference: float | None = None,
        worth: float = WORTH,
        key: str = "",
        slot_s: float = SLOT_S,
        wall_offset_s: float = 0.0,
    ) -> None:
        if not (1 <= floor <= start <= ceiling < math.inf):
            raise ValueError(f"need 1 <= floor <= start <= ceiling, not {floor}, {start}, {ceiling}")
        if not 0 < worth < 1 or not 0 < slot_s < math.inf:
            raise ValueError(f"need 0 < worth < 1 and a finite slot_s above zero, not {worth}, {slot_s}")
        self.floor, self.ceiling = float(floor), float(ceiling)
        self.limit = float(start)
        self.reference = clip(start if reference is None else reference, floor, ceiling)
        self.worth = worth
        self._key = f"{key}/{slot_s!r}"
        self._slot_s = slot_s
        self._meter = WorkMeter(wall_offset_s)
        self._index = -1
        self._first: Slot | None = None
        self._binds = False
        self._round_s = 0.0
        self._weight = self._square = self._slope = 0.0
        self._variance = 0.05  # of the slope of a pair
        self.compared: Mapping[str, float] = {}  # the last comparison, for people and metrics
        self._decision = Decision(self.limit, "start", {"reference": self.reference})

    @property
    def words(self) -> str:
        """The limit, the reference, and the last comparison, for a person."""
        return said(self.limit, self.reference, self.compared, leaps=False)

    def _at(self, now_s: float) -> bool:
        index = math.floor(now_s / self._slot_s)
        if index == self._index:
            return False
        slot = self._meter.close()
        if slot is None or not slot.sound or index != self._index + 1:
            self._first = None
        else:
            self._round_s = slot.limit / slot.call_rate
            if index % 2:
                self._first = slot
            elif self._first is not None:
                first, self._first = self._first, None
                self._judge(*((first, slot) if first.limit > slot.limit else (slot, first)))
        self._binds = slot is not None and slot.binding
        self._index = index
        self._open()
        return True

    def _open(self) -> None:
        index = self._index
        limit = self.limit
        if self._binds:
            more = bool(drawn(self._key, index // 2) & 1) != bool(index % 2)
            step = max(PROBE, math.log1p(LEAST_PROBE / limit))
            # Near a bound both probes move inwards: pressed together they would show nothing but noise.
            centre = clip(limit, self.floor * math.exp(step), self.ceiling * math.exp(-step))
            limit = clip(centre * math.exp(step if more else -step), self.floor, self.ceiling)
        if limit != self.value:
            self._decision = Decision(limit, self._decision.reason, self._decision.inputs)
        from_s = index * self._slot_s
        settle_s = min(0.3 * self._slot_s, 1.5 * self._round_s)
        self._meter.slot = Slot(limit, from_s, from_s + self._slot_s, settle_s)

    def _judge(self, high: Slot, low: Slot) -> None:
        """What the common step was worth, and the move that follows."""
        if not low.binding:
            return
        contrast = math.log(high.mean_inflight / low.mean_inflight)
        if contrast < LEAST_CONTRAST:
            return
        value, counted = self._meter.gain(high, low)
        self._learn(clip(value / contrast, -3.0, 3.0), counted / contrast**2)
        error = math.sqrt(self._variance * self._square) / self._weight
        miss = clip(self._slope, -1.0, 1.3) - self.worth
        move = clip(GAIN * clip(abs(miss) / (error + 0.02) - 0.5, 0.6, 4.0) * miss, -DOWN, UP)
        adds = move > 0 and self._slope < NEAR
        limit = self.limit + self.reference * move if adds else self.limit * math.exp(move)
        limit += LEAN * (self.reference - limit)
        if not high.binding:
            limit = min(limit, high.mean_inflight)  # the demand ends between the two probes
        fade = math.exp(-abs(move) / FORGET)
        self._weight *= fade
        self._square *= fade * fade
        self.limit = clip(limit, self.floor, self.ceiling)
        self.compared = {
            "compared": high.limit,
            "with": low.limit,
            "gain": math.expm1(self._slope * contrast),
            "error": error * contrast,
        }
        inputs = {
            **self.compared,
            "worth": self._slope,
            "limit": self.limit,
            "reference": self.reference,
        }
        self._decision = Decision(self.limit, "more_does_more" if move > 0 else "fewer_do_as_much", inputs)

    def _learn(self, slope: float, counted: float) -> None:
        if self._weight:
            self._variance += 0.1 * (min(4.0, (slope - self._slope) ** 2) - self._variance)
        self._variance = max(self._variance, 0.3 * counted)
        self._weight = KEEP * self._weight + 1.0
        self._square = KEEP * KEEP * self._square + 1.0
        self._slope += (slope - self._slope) / self._weight
