"""How many calls fit into an engine that serves them in slots and does not say how many it has.

The queue should be ours, where it can be ordered and cancelled, so the limit is the number of slots: with
one more the first token of somebody comes late. Two signals say so. The time to the first token against its
tenth percentile in the same class (prompts of a length); or, where the engine reports its own times, the
*residual*: what the whole call took beyond load, prefill and decode is about the wait for a slot.

Declared slots need no law: use Fixed, or Elasticity under that ceiling for an engine that is short of
compute.
"""

import math
from collections import deque

from fluido.laws.base import Decision
from fluido.sample import Outcome, Sample

REMEMBERED = 64
LATE_FACTOR = 3.0
LATE_BY_S = 0.25
LATE_SHARE = 0.3
RESIDUAL_S = 0.05
RESIDUAL_SHARE = 0.05
LONGEST_HOLD = 3  # doublings: after a step from 2 to 8 slots, 6 of them waited for up to 9 minutes
MAX_CLASSES = 32


class Slots:
    """Decides an in-flight limit from first tokens. A sample ends at the first token; its label is its class.

    `observe_residual(residual_s, total_s, limit)` may be told instead, once a call. An overload (429, 503)
    takes one off at once. ValueError unless 1 <= floor <= start <= ceiling.
    """

    name = "slots"

    def __init__(self, *, start: float = 1, floor: float = 1, ceiling: float = 256) -> None:
        if not (1 <= floor <= start <= ceiling < math.inf):
            raise ValueError(f"need 1 <= floor <= start <= ceiling, not {floor}, {start}, {ceiling}")
        self.floor = float(floor)
        self.ceiling = float(ceiling)
        self._decision = Decision(float(start), "start")
        self._first_tokens: dict[str, deque[float]] = {}
        self._seen = 0
        self._late = 0
        self._bound = 0
        self._hold = 0
        self._retreats = 0
        self._slow_start = True

    @property
    def value(self) -> float:
        """The limit in force."""
        return self._decision.value

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from one first token."""
        if sample.outcome is Outcome.OVERLOAD:
            return self._retreat("overload")
        first_s = sample.service_s
        if sample.outcome is Outcome.IGNORED or not 0 <= first_s < math.inf:
            return self._decision
        known = self._first_tokens.get(sample.label)
        if known is None:
            if len(self._first_tokens) >= MAX_CLASSES:
                self._first_tokens.pop(next(iter(self._first_tokens)))
            known = self._first_tokens[sample.label] = deque(maxlen=REMEMBERED)
        known.append(first_s)
        base_s = sorted(known)[len(known) // 10]
        late = len(known) > 1 and first_s > max(LATE_FACTOR * base_s, base_s + LATE_BY_S)
        return self._count(late, sample.limit, sample.inflight)

    def observe_residual(self, residual_s: float, total_s: float, inflight: int, limit: float) -> Decision:
        """Learn from an engine's own account of one call."""
        if not (math.isfinite(residual_s) and 0 < total_s < math.inf):
            return self._decision
        return self._count(residual_s > RESIDUAL_S + RESIDUAL_SHARE * total_s, limit, inflight)

    def tick(self, _now_s: float, /) -> Decision:
        """Time alone teaches nothing."""
        return self._decision

    def reset(self) -> None:
        """The model was loaded anew: keep the limit, forget what a first token costs."""
        self._first_tokens.clear()
        self._seen = self._late = self._bound = 0

    def _count(self, late: bool, limit: float, inflight: int) -> Decision:
        if limit != self.value:
            return self._decision  # started under another limit: says nothing about this one
        self._seen += 1
        self._late += late
        self._bound += inflight >= limit
        if self._late >= 2 and self._late > LATE_SHARE * self._seen:
            return self._retreat("late_first_tokens")
        if self._hold > 0:
            self._hold -= 1
        elif self._late == 0 and self._bound > max(2.0, self.value):
            return self._grow()
        elif self._seen >= 8 * max(2.0, self.value):
            self._seen = self._late = self._bound = 0
        return self._decision

    def _grow(self) -> Decision:
        limit = self.value * 2 if self._slow_start else self.value + 1
        return self._move(limit, "none_late")

    def _retreat(self, reason: str) -> Decision:
        limit = self.value / 2 if self._slow_start and self.value > 2 else self.value - 1
        self._slow_start = False
        decision = self._move(limit, reason)
        self._retreats = min(LONGEST_HOLD, self._retreats + 1)
        self._hold = int(2**self._retreats * self.value)
        return decision

    def _move(self, limit: float, reason: str) -> Decision:
        inputs = {"late": float(self._late), "seen": float(self._seen)}
        limit = float(min(max(math.floor(limit), self.floor), self.ceiling))
        self._seen = self._late = self._bound = 0
        if limit != self.value:
            self._decision = Decision(limit, reason, inputs)
        return self._decision
