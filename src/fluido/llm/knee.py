"""The law of an engine's in-flight limit: inside its slots, as many as still add throughput.

A processor-bound engine answers no more with four calls in flight than with one; each of them only takes four
times as long. A GPU gains almost in proportion. So declared slots are the ceiling and not the target, and
every step up has to earn its place: throughput of work must grow at least as (L+1)/L to the power of
`elasticity` (0.25: the mirror of the target 0.75 for a database that is ours alone).

Throughput at L needs no clock: by Little's law it is L * sum(work) / sum(service time) over calls that
started with L in flight while others waited. Work is `Sample.units`.

An engine that does not tell its slots shows them: a call that found them all taken waits inside the engine.
The station marks such a call with Outcome.OVERLOAD; two of them at n in flight mean fewer than n slots. Pure
arithmetic.
"""

from collections import Counter

from fluido.laws.base import Decision
from fluido.sample import Outcome, Sample

CEILING_UNKNOWN = 16
SAMPLES = 8
FIRST_HOLD = 32
LONGEST_HOLD = 1024
LATE_TWICE = 2


class Knee:
    """Decides how many calls are in flight. `slots=None`: unknown, to be found.

    `elasticity=None` switches the search for the knee off: the limit then grows to the slots, told or found.
    """

    __slots__ = (
        "_base",
        "_decision",
        "_hidden",
        "_hold",
        "_hold_length",
        "_late",
        "_probing",
        "_service_s",
        "_settle",
        "_taken",
        "_tried_up",
        "_work",
        "ceiling",
        "elasticity",
        "found_slots",
    )
    name = "knee"
    floor = 1.0

    def __init__(self, slots: int | None = None, *, elasticity: float | None = 0.25) -> None:
        if slots is not None and slots < 1:
            raise ValueError(f"an engine has at least one slot, not {slots}")
        self.ceiling = float(slots or CEILING_UNKNOWN)
        self.elasticity = elasticity
        self._hidden = slots is None
        self.found_slots = slots
        self._late: Counter[int] = Counter()
        self._base = 0.0  # throughput at the accepted limit, 0 while unknown
        self._probing = self._tried_up = False
        self._hold = 0
        self._hold_length = FIRST_HOLD
        self._settle = self._taken = 0
        self._work = self._service_s = 0.0
        self._decision = Decision(1.0, "start")

    @property
    def value(self) -> float:
        """The limit in force."""
        return self._decision.value

    def tick(self, now_s: float) -> Decision:  # noqa: ARG002  (the Law protocol names it)
        """Time alone teaches nothing."""
        return self._decision

    def observe(self, sample: Sample) -> Decision:
        """Learn from a call that ended."""
        if sample.outcome is Outcome.OVERLOAD:
            return self._late_call(sample)
        limit = int(self.value)
        binding = sample.wait_s > 0 or sample.inflight >= limit
        if sample.outcome is Outcome.IGNORED or not binding or sample.inflight != limit:
            return self._decision
        if sample.service_s <= 0:
            return self._decision
        if self._settle > 0:  # began while the limit before was still draining
            self._settle -= 1
            return self._decision
        self._taken += 1
        self._work += sample.units
        self._service_s += sample.service_s
        if self.elasticity is None:
            return self._grow(limit) if self._taken >= max(2, limit) else self._decision
        if self._taken >= SAMPLES:
            return self._judge(limit)
        return self._decision

    def _late_call(self, sample: Sample) -> Decision:
        """Refused by the engine, or kept waiting inside it."""
        self._late[sample.inflight] += 1
        if sample.inflight <= 1 or self._late[sample.inflight] < LATE_TWICE:
            return self._decision
        slots = max(1, sample.inflight - 1)
        self._late.clear()
        if slots < self.ceiling:
            self.ceiling, self.found_slots = float(slots), slots
        if slots >= self.value:
            return self._decision
        self._base, self._probing = 0.0, False
        return self._move(slots, "engine_queue", {"slots": float(slots)})

    def _judge(self, limit: int) -> Decision:
        throughput = limit * self._work / self._service_s
        self._work = self._service_s = 0.0
        self._taken = 0
        if self._probing:
            return self._judge_probe(limit, throughput)
        self._base = throughput
        if self._hold > 0:
            self._hold -= SAMPLES
            return self._decision
        if limit < self.ceiling and not self._tried_up:
            self._tried_up = True
            return self._grow(limit)
        # Both ways are asked in turn: what was worth it once may no longer be.
        self._tried_up = False
        if limit >= self.ceiling and self._hidden:
            self.ceiling += 1.0
            return self._grow(limit)
        return self._move(limit - 1, "recheck", {"throughput": throughput}) if limit > 1 else self._decision

    def _grow(self, limit: int) -> Decision:
        if limit >= self.ceiling:
            return self._decision
        self._probing = self.elasticity is not None
        return self._move(limit + 1, "probe", {"throughput": self._base})

    def _judge_probe(self, limit: int, throughput: float) -> Decision:
        self._probing = False
        needed = self._base * (limit / (limit - 1)) ** (self.elasticity or 0.0)
        inputs = {"throughput": throughput, "before": self._base, "needed": needed}
        if throughput >= needed:
            self._base = throughput
            self._tried_up = False
            self._hold_length = FIRST_HOLD
            self._hold = 0 if limit < self.ceiling else LONGEST_HOLD
            return self._move(limit, "worth_it", inputs)
        self._hold = self._hold_length
        self._hold_length = min(LONGEST_HOLD, 2 * self._hold_length)
        return self._move(limit - 1, "not_worth_it", inputs)

    def _move(self, limit: int, reason: str, inputs: dict[str, float]) -> Decision:
        self._settle = 0 if self.elasticity is None else limit
        self._taken = 0
        self._work = self._service_s = 0.0
        self._decision = Decision(float(limit), reason, inputs)
        return self._decision
