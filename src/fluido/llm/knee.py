"""The law of an engine's in-flight limit: inside its slots, as many as still add throughput.

A processor-bound engine answers no more with four calls in flight than with one; each of them only takes four
times as long. A GPU gains almost in proportion. So declared slots are the ceiling and not the target, and
every step up has to earn its place: throughput of work must grow at least as (L+1)/L to the power of
`elasticity` (0.25: the mirror of the target 0.75 for a database that is ours alone).

Throughput at L needs no clock: by Little's law it is L * work / service time over calls that had L in flight
beside them, themselves included, for as long as they ran. A call that ran alone for half of its time would
make two in flight look twice as good as they are, so it does not count (`Sample.mean_inflight`). Work is
`Sample.units`. Whether one more is worth it is asked in pairs of short turns, a few calls at L and a few at
L+1, whose order changes from pair to pair: a machine that became slower for a minute hits both alike. The
pairs go on until their mean is clear, or forgotten where the demand does not fill the limit.

An engine that does not tell its slots shows them: a call that found them all taken waits inside the engine.
The station marks such a call with Outcome.OVERLOAD; two of them at n in flight mean fewer than n slots. Pure
arithmetic.
"""

import math
from collections import Counter

from fluido.laws.base import Decision
from fluido.llm.paired import PairedTurns
from fluido.sample import Outcome, Sample

CEILING_UNKNOWN = 16
PATIENCE = 24  # calls that a turn may take, counted or not
FEWEST_PAIRS, MOST_PAIRS = 3, 8
SURE_UP, SURE_DOWN = 2.0, 1.0  # standard errors
FULL_WITHIN = 0.25  # of the limit, on average over a call's time
WAITED_SHARE = 0.25  # of the calls at a limit, before a higher one is asked for
FIRST_CALLS = 8
FIRST_HOLD = 32
LONGEST_HOLD = 1024
LATE_TWICE = 2
AFTER_LATE_HOLD = 256


class Knee:
    """Decides how many calls are in flight. `slots=None`: unknown, to be found.

    `elasticity=None` switches the search for the knee off: the limit then grows to the slots, told or found.
    """

    __slots__ = (
        "_decision",
        "_full",
        "_hidden",
        "_hold",
        "_hold_length",
        "_late",
        "_question",
        "_up_next",
        "_waited",
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
        self._question: PairedTurns | None = None
        self._full = self._waited = 0  # calls under the limit in force, with all of it in flight
        self._up_next = True
        self._hold = 0
        self._hold_length = FIRST_HOLD
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
        if sample.outcome is Outcome.IGNORED or sample.limit != self.value or sample.service_s <= 0:
            return self._decision
        if self._question is not None:
            return self._hear(self._question, sample)
        if not _is_full(sample):
            return self._decision
        self._full += 1
        self._waited += sample.wait_s > 0
        limit = int(self.value)
        if self.elasticity is not None:
            return self._consider(limit)
        return self._move(limit + 1, "probe", {}) if self._may_grow(limit) else self._decision

    def _may_grow(self, limit: int) -> bool:
        return self._full >= max(2, limit) and limit < self.ceiling

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
        self._question, self._hold = None, AFTER_LATE_HOLD
        return self._move(slots, "engine_queue", {"slots": float(slots)})

    def _consider(self, limit: int) -> Decision:
        """Nothing is in question: whether to ask for one more, or whether the last one is still worth it."""
        self._hold = max(0, self._hold - 1)
        if self._hold or self._full < FIRST_CALLS:
            return self._decision
        can_rise = limit < self.ceiling or self._hidden
        if limit > 1 and not (self._up_next and can_rise):
            self._up_next = True
            self._question = PairedTurns(limit, limit - 1)
        elif can_rise and self._waited >= WAITED_SHARE * self._full:  # where nobody waits nothing is gained
            self._up_next = limit == 1
            self.ceiling = max(self.ceiling, limit + 1.0)
            self._question = PairedTurns(limit, limit + 1)
        return self._decision

    def _hear(self, question: PairedTurns, sample: Sample) -> Decision:
        question.seen += 1
        if _is_full(sample):
            ended = question.add(math.log(sample.service_s / max(sample.units, 1e-9)))
            if ended and question.turn % 2 == 0:
                return self._judge(question)
            if ended:
                return self._move(question.limit, "probe", {})
        if question.seen >= PATIENCE:
            return self._answer(question, question.origin, "demand_ends", {})
        return self._decision

    def _judge(self, question: PairedTurns) -> Decision:
        """Undecided to the end: what was not shown to be worth it is not."""
        needed = (self.elasticity or 0.0) * math.log((question.lower + 1) / question.lower)
        above, error = question.gain - needed, question.error
        inputs = {"gain": question.gain, "needed": needed, "error": error}
        if question.pairs >= FEWEST_PAIRS:
            if above > SURE_UP * error:
                return self._answer(question, question.lower + 1, "worth_it", inputs)
            if above < -SURE_DOWN * error:
                return self._answer(question, question.lower, "not_worth_it", inputs)
        if question.pairs >= MOST_PAIRS:
            return self._answer(question, question.lower, "undecided", inputs)
        return self._move(question.limit, "probe", {})

    def _answer(self, question: PairedTurns, limit: int, reason: str, inputs: dict[str, float]) -> Decision:
        if limit != question.origin:
            self._up_next = limit > question.origin
            self._hold, self._hold_length = 0, FIRST_HOLD
        else:
            self._hold_length = min(LONGEST_HOLD, 2 * self._hold_length)
            self._hold = self._hold_length
        self._question = None
        return self._move(limit, reason, inputs)

    def _move(self, limit: int, reason: str, inputs: dict[str, float]) -> Decision:
        self._full = self._waited = 0
        self._decision = Decision(float(limit), reason, inputs)
        return self._decision


def _is_full(sample: Sample) -> bool:
    """Whether as many as the limit allows were in flight for all of the call's time."""
    if sample.mean_inflight > 0:
        return abs(sample.mean_inflight - sample.limit) <= FULL_WITHIN
    return sample.inflight == sample.limit
