"""The law before the ladder, as a control: the limit at which one more in flight still adds throughput.

By Little's law N = X R. The elasticity of latency, eps = dlnR/dlnN = 1 - dlnX/dlnN, is 0 where capacity is
idle, 1 on a plateau, and above 1 where more in flight does less. When the limit binds there is a queue in
front of it, so the caller's total time is N/X and throughput is what the caller wants: the law steers eps to
`target`, the largest limit whose last increase was still worth it. It needs no latency of an idle server,
the estimate that drifts in the laws that use one.

eps is measured by paired slots (pairs.py): the limit is L(1+delta) in one and L(1-delta) in the other, and
1 - ln(X+/X-) / ln(N+/N-) goes into a forgetting regression. While the limit does not bind nothing is learned
and nothing is probed.
"""

import math

from fluido._measure import Ewma, clip
from fluido._sample import Outcome, Sample
from fluido.laws._base import Decision
from fluido.laws._mix import OTHERS, Mix
from fluido.testing.rivals.pairs import FEWEST, Evidence, Tally, sign
from fluido.testing.rivals.ramp import Ramp

DELTA, WIDEST = 0.09, 0.14  # the probes: L(1 +- delta), wider while the answer is uncertain
WANTED_ERROR = 0.10
REST_PAIRS = 7  # at a bound that holds
LEAST_STEP = 0.4  # calls: below 4 in flight a share of the limit would be no step
KEEP = 0.8
GAIN = 0.15
UP, DOWN = 0.5, 0.35  # the largest move of ln L per pair
FORGET = 0.15
SHORTEST_SLOT_S, LONGEST_SLOT_S = 0.125, 8.0
PER_SLOT, PER_RAMP_SLOT = 100, 30  # calls
ROUNDS_PER_SLOT = 6.0  # mean service times
MOST_SKIPPED = 3
IDLE_S = 600.0
LEAST_CONTRAST = 0.05  # ln of the two in-flights: closer together they show noise
COLLAPSE_SERVICE, COLLAPSE_RATE, HOLD_S = 6.0, 0.7, 1.0


class Elasticity:
    """Decides an in-flight limit between `floor` and `ceiling`, steering the elasticity to `target`.

    ValueError unless 1 <= floor <= start <= ceiling and 0 < target < 1.
    """

    name = "elasticity"

    def __init__(
        self,
        *,
        start: float = 8.0,
        floor: float = 2.0,
        ceiling: float,
        target: float = 0.87,
        key: str = "",
        slot_s: float | None = None,
    ) -> None:
        if not (1 <= floor <= start <= ceiling < math.inf):
            raise ValueError(f"need 1 <= floor <= start <= ceiling, not {floor}, {start}, {ceiling}")
        if not 0 < target < 1 or (slot_s is not None and not 0 < slot_s < math.inf):
            raise ValueError(f"need 0 < target < 1 and a finite slot_s above zero, not {target}, {slot_s}")
        self.floor = float(floor)
        self.ceiling = float(ceiling)
        self.target = target
        self.limit = float(start)
        self._start = float(start)
        self._key = key
        self._fixed_slot = slot_s is not None
        self._slot_s = slot_s or 2 * SHORTEST_SLOT_S
        self._index: int | None = None
        self._from_s = math.inf
        self._until_s = -math.inf
        self._slot: Tally | None = None
        self._first: Tally | None = None
        self._ramp: Ramp | None = Ramp(self.limit, self.floor, self.ceiling, target)
        self._probing = False
        self._delta = DELTA
        self._rest_until = 0
        self._skipped = 0
        self._bounced = 0
        self._evidence = Evidence(KEEP)
        self._mix = Mix()
        self._weights: dict[str, float] = {}
        self._service_s = 0.0
        self._call_rate = Ewma(0.3)
        self._bound_s = -math.inf
        self._peak = 0
        self._hold_until_s = -math.inf
        self._usual_rate = Ewma(0.1)
        self._usual_service = Ewma(0.1)
        self._decision = Decision(self.limit, "start")
        self._moved: Decision | None = None

    @property
    def value(self) -> float:
        """The limit in force: L, or one of the two probes around it."""
        return self._decision.value

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from one call that ended."""
        now_s = sample.finished_s
        service_s = sample.finished_s - sample.started_s
        if not (math.isfinite(now_s) and 0 <= service_s < math.inf):
            return self._decision
        if not self._from_s <= now_s < self._until_s:
            self._roll(now_s)
        if sample.outcome is not Outcome.OK:
            return self._decision
        units = sample.units if 0 < sample.units < math.inf else 1.0
        self._mix.add(sample.label, service_s / units)
        self._peak = max(self._peak, sample.inflight)
        slot = self._slot
        if slot is not None and now_s >= slot.start_s:
            weight = self._weights.get(sample.label) or self._weights.get(OTHERS, 0.0)
            if weight > 0:
                started_s = sample.started_s
                slot.finished(weight * units, started_s, now_s, sample.inflight, sample.limit)
        return self._decision

    def tick(self, now_s: float, /) -> Decision:
        """Time passed without news: close the slots that ended."""
        if math.isfinite(now_s):
            self._roll(now_s)
        return self._decision

    # -- slots --

    def _roll(self, now_s: float) -> None:
        index = math.floor(now_s / self._slot_s)
        if index == self._index:
            return
        self._moved = None
        slot, self._slot = self._slot, None
        neighbour = self._index is not None and index == self._index + 1
        self._index = index
        if slot is None or slot.spoiled or not neighbour:
            # A gap without calls, a clock that jumped, a limit that is not ours: half a pair is no pair.
            self._first = None
        else:
            self._close(slot, index - 1, now_s)
        self._open(now_s)
        self._from_s = self._index * self._slot_s
        self._until_s = self._from_s + self._slot_s

    def _close(self, slot: Tally, index: int, now_s: float) -> None:
        self._call_rate.add(slot.call_rate)
        if slot.binding:
            self._bound_s = now_s
            self._peak = 0
        elif now_s - self._bound_s > IDLE_S:
            self._forget_idle(now_s)
        if self._ramp is not None:
            self._climb(self._ramp, slot)
        elif self._collapsed(slot, now_s):
            self._first = None
        elif not self._probing:
            self._probing = slot.binding
        elif index % 2 == 0:
            self._first = slot
        elif self._first is not None:
            first, self._first = self._first, None
            if first.limit > slot.limit:
                self._judge(first, slot)
            elif first.limit < slot.limit:
                self._judge(slot, first)

    def _open(self, now_s: float) -> None:
        """Start the slot that `now_s` lies in; the weights and the length hold for a whole pair."""
        if self._index is None:
            return
        if self._index % 2 == 0 or self._ramp is not None or not self._weights:
            weights, self._service_s = self._mix.weights(self._slot_s / 3 if not self._ramp else math.inf)
            self._weights = dict(weights)
            if self._resize_slot(now_s):
                return
        limit = self._limit_of_slot(now_s)
        if limit != self.value:
            # A move and the probe around it come together: the move's reason is the one worth knowing.
            moved = self._moved
            reason, inputs = (moved.reason, moved.inputs) if moved else ("probe", {})
            self._decision = Decision(limit, reason, {**inputs, "centre": self.limit})
        settle_s = min(0.3 * self._slot_s, 1.5 * self._service_s)
        start_s = self._index * self._slot_s
        self._slot = Tally(start_s + settle_s, start_s + self._slot_s, limit)

    def _limit_of_slot(self, now_s: float) -> float:
        if self._ramp is not None:
            return self._ramp.candidate
        if not self._probing or now_s < self._hold_until_s or self._index is None:
            return self.limit
        if self._index // 2 < self._rest_until:
            return self.limit
        step = max(LEAST_STEP, self._delta * self.limit) * sign(self._key, self._slot_s, self._index)
        # Near a bound both probes move inwards: pressed together they would show nothing but noise.
        centre = clip(self.limit, self.floor + abs(step), self.ceiling - abs(step))
        return clip(centre + step, self.floor, self.ceiling)

    def _resize_slot(self, now_s: float) -> bool:
        """Long enough for a hundred calls and six mean service times; shorter only when far too long."""
        if self._fixed_slot or not self._call_rate.value:
            return False
        calls = PER_RAMP_SLOT if self._ramp is not None else PER_SLOT
        wanted_s = max(calls / (0.7 * self._call_rate.value), ROUNDS_PER_SLOT * self._service_s)
        slot_s = 2 * SHORTEST_SLOT_S if self._ramp is not None else SHORTEST_SLOT_S
        while slot_s < min(wanted_s, LONGEST_SLOT_S):
            slot_s *= 2
        if not (slot_s > self._slot_s or (wanted_s < self._slot_s / 3 and slot_s < self._slot_s)):
            return False
        self._slot_s = slot_s
        # The slot of the new length that we are in began without us: measure from the next one.
        self._index = math.floor(now_s / slot_s)
        return True

    # -- moves --

    def _climb(self, ramp: Ramp, slot: Tally) -> None:
        if slot.count < FEWEST:
            return
        # The first calls of all, or of a much larger limit, are still inside: their slot shows too little.
        service_s = slot.limit / slot.call_rate
        if slot.binding and 2 * self._slot_s < ROUNDS_PER_SLOT * service_s and self._skipped < MOST_SKIPPED:
            self._skipped += 1
            return
        self._skipped = 0
        if not slot.binding:
            if ramp.accepted != ramp.candidate:
                # The demand ends below the candidate: there is nothing to learn up there.
                self._ramp = None
                self._set(ramp.accepted, "demand_ends", {"rate": slot.rate})
            return
        if ramp.measured(slot.rate) is None:
            self._ramp = None
            self._probing = True
        self._set(ramp.accepted, "ramp", {"rate": slot.rate, "tried": slot.limit})

    def _judge(self, high: Tally, low: Tally) -> None:
        fewest = min(high.count, low.count)
        self._probing = low.binding
        if not self._probing or fewest < FEWEST or low.mean_inflight <= 0 or low.rate <= 0 or high.rate <= 0:
            return
        d_n = math.log(high.mean_inflight / low.mean_inflight)
        if d_n < LEAST_CONTRAST:
            return
        d_r = math.log(high.busy / low.busy) - math.log(high.rate / low.rate)
        self._evidence.add(d_r, d_n, fewest / PER_SLOT)
        eps, error = self._evidence.elasticity, self._evidence.error
        miss = self.target - clip(eps, -0.3, 2.0)
        if abs(miss) < 0.3:
            self._usual_rate.add(0.5 * (high.rate + low.rate))
            self._usual_service.add((high.mean_inflight + low.mean_inflight) / (high.rate + low.rate))
        certainty = clip(abs(miss) / (error + 0.02) - 0.5, 0.6, 4.0)
        move = clip(GAIN * certainty * miss, -DOWN, UP)
        limit = self.limit * math.exp(move)
        if not high.binding:
            # Demand ends between the two probes. A limit above it would never be tested again, however many
            # calls it lets into a server that fewer would make faster.
            limit = min(limit, high.mean_inflight)
        self._evidence.fade(math.exp(-abs(move) / FORGET))
        self._choose_next(limit, miss)
        inputs = {"eps": eps, "error": error, "rate": high.rate, "N": high.mean_inflight}
        self._set(limit, "worth_more" if move > 0 else "worth_less", inputs)

    def _choose_next(self, limit: float, miss: float) -> None:
        """How wide to probe next, and whether to: at a bound that the evidence presses against, seldom."""
        error = self._evidence.error
        self._delta = clip(self._delta * (1.1 if error > WANTED_ERROR else 0.9), DELTA, WIDEST)
        sure = abs(miss) > 2 * error
        outside = sure and (limit >= self.ceiling if miss > 0 else limit <= self.floor)
        self._bounced = min(self._bounced + 1, REST_PAIRS) if outside else 0
        if self._bounced > 1 and self._index is not None:
            self._rest_until = self._index // 2 + self._bounced

    def _collapsed(self, slot: Tally, now_s: float) -> bool:
        """Little's law gives the new size in one jump when service times explode and throughput falls.

        Service times are those of the calls: a limit that is not filled, because its connections are only
        being opened, is no collapse.
        """
        usual_s, usual_rate = self._usual_service.value, self._usual_rate.value
        if slot.count < 2 * FEWEST or not usual_rate or slot.rate >= COLLAPSE_RATE * usual_rate:
            return False
        service_s = slot.busy / slot.rate
        if service_s <= COLLAPSE_SERVICE * usual_s:
            return False
        limit = min(1.2 * slot.rate * usual_s, self.limit / 2)
        self._set(limit, "collapse", {"service_s": service_s, "usual_s": usual_s, "rate": slot.rate})
        self._evidence.fade(0.0)
        self._usual_rate.reset()
        self._usual_service.reset()
        self._hold_until_s = now_s + HOLD_S
        return True

    def _forget_idle(self, now_s: float) -> None:
        """A limit that did not bind for ten minutes was learned from a server that may have changed."""
        if math.isfinite(self._bound_s):
            limit = max(min(self._start, self.limit), min(self.limit, 2.0 * self._peak))
            if limit != self.limit:
                self._set(limit, "idle", {"peak": float(self._peak)})
        self._bound_s = now_s
        self._peak = 0

    def _set(self, limit: float, reason: str, inputs: dict[str, float]) -> None:
        self.limit = clip(limit, self.floor, self.ceiling)
        self._decision = self._moved = Decision(self.limit, reason, inputs)


class FromEight(Elasticity):
    """As a pool had it: it begins at eight, whatever the user had. It must fail `no_harm` and the day."""

    name = "elasticity_from_eight"

    def __init__(self, *, start: float, floor: float, ceiling: float) -> None:
        low = max(2.0, floor)
        super().__init__(start=clip(min(start, 8.0), low, ceiling), floor=low, ceiling=ceiling, target=0.85)
