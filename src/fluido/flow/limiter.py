"""A gate that obeys a law: the door most callers use."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

from fluido.errors import LimitReached
from fluido.flow.gate import Gate
from fluido.flow.label import current_label
from fluido.flow.lanes import LanedGate
from fluido.flow.obeyed import Obeyed
from fluido.laws.base import Decision, Law
from fluido.laws.brake import Brake
from fluido.laws.fixed import Fixed
from fluido.laws.lanes import Lanes
from fluido.measure import Ewma
from fluido.metrics import FlowStats, Meter
from fluido.sample import Outcome, Sample

TICK_S = 0.25
UNBOUND_KEPT = 256  # service times that are counted together: one by one they are felt by a single caller


def ignore_failures(_error: BaseException, /) -> Outcome:
    """The default classifier: a failed call says nothing about capacity."""
    return Outcome.IGNORED


class Slot:
    """One admission. Set `outcome` or `units` inside the block to tell the law more than it can see."""

    __slots__ = (
        "_deadline_s",
        "_inflight",
        "_limit",
        "_limiter",
        "_wait_s",
        "label",
        "outcome",
        "started_s",
        "units",
    )

    def __init__(self, limiter: "Limiter", label: str, deadline_s: float | None) -> None:
        self._limiter = limiter
        self._deadline_s = deadline_s
        self._wait_s = 0.0
        self.label = label
        self.outcome: Outcome | None = None
        self.units = 1.0

    async def __aenter__(self) -> Self:
        limiter = self._limiter
        gate = limiter.gate
        if gate.try_acquire(self.label):
            self.started_s = limiter.clock()
        else:
            joined_s = limiter.clock()
            limiter.check_deadline(self._deadline_s, joined_s)
            await gate.acquire(label=self.label, deadline_s=self._deadline_s)
            self.started_s = limiter.clock()
            self._wait_s = self.started_s - joined_s
        self._inflight = gate.inflight
        self._limit = gate.limit
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        limiter = self._limiter
        try:
            outcome = self.outcome
            if outcome is None:
                outcome = Outcome.OK if error is None else limiter.classify(error)
            limiter.learn(
                Sample(
                    self.label,
                    self.started_s,
                    limiter.clock(),
                    self._wait_s,
                    self._inflight,
                    self._limit,
                    outcome,
                    self.units,
                )
            )
        finally:
            limiter.gate.release(self.label)


class Limiter:
    """`async with limiter.slot():` admits as many calls at once as its law finds worthwhile.

    `classify` tells what a raised exception says about capacity. With `brake`, the limit is frozen and
    scaled down while calls fail; with `lanes`, classes of work that it finds heavy fill only a part of the
    limit. In `shadow` mode the law computes and its decisions are logged, but the limit stays where it was
    (or where `pin` puts it). A law that raises or leaves its bounds is held at its last value. A drop-in that
    has its own `gate` hands it in.
    """

    kind = "limiter"

    def __init__(
        self,
        law: Law,
        *,
        name: str,
        max_waiting: int,
        clock: Callable[[], float] = time.perf_counter,
        shadow: bool = False,
        brake: Brake | None = None,
        lanes: Lanes | None = None,
        classify: Callable[[BaseException], Outcome] = ignore_failures,
        gate: Gate | None = None,
        standing_share: float = 1.0,
    ) -> None:
        self.name = name
        self.law = law
        self.clock = clock
        self.classify = classify
        self.shadow = shadow
        self.pinned: float | None = None
        self.obeyed = Obeyed(law)
        self.decisions = self.obeyed.log
        if gate is None:
            build = Gate if lanes is None else partial(LanedGate, is_heavy=lanes.is_heavy)
            gate = build(
                law.value,
                max_waiting=max_waiting,
                clock=clock,
                name=name,
                standing_share=standing_share,
                meter=Meter(name, self.kind),
            )
        self.gate: Gate = gate
        self.meter = gate.meter
        self.meter.name, self.meter.kind = name, self.kind  # a gate that was handed in has a kind of its own
        self._lanes = Obeyed(lanes) if lanes else None
        self._brake = brake
        self._beta: Decision | None = None
        self.braked = False  # whether the brake holds the limit down now
        self._relief = Decision(1.0, "moving")
        # Whether it matters to the law what a sample is called; a drop-in may save itself to find out.
        self.names_matter = not isinstance(law, Fixed)
        self._tick_due_s = -math.inf
        self._unbound: list[float] = []
        self._mean_service = Ewma(0.02)

    def slot(self, *, label: str | None = None, deadline_s: float | None = None) -> Slot:
        """One admission, to be used with `async with`. `label` defaults to the current one.

        Entering raises LimitReached at once when the queue is full or the wait cannot fit `deadline_s` (a
        time on the limiter's clock), WaitTimeout when that passes in the queue, Closed after `close()`.
        """
        return Slot(self, current_label() if label is None else label, deadline_s)

    def pin(self, value: float) -> None:
        """Put `value` (at least 1) in force and turn the law off; a shadow law goes on computing."""
        self.gate.resize(value)
        self.pinned = value
        self.names_matter = self.shadow and not isinstance(self.law, Fixed)
        self.decisions.record(self.clock(), value, "pinned", {})

    def unpin(self) -> None:
        """Let the law decide again, from where it was."""
        if self.pinned is not None:
            self.pinned = None
            self.names_matter = not isinstance(self.law, Fixed)
            self.decisions.record(self.clock(), self.obeyed.value, "unpinned", {})
            if not self.shadow:
                self._apply()

    def close(self) -> None:
        """Refuse newcomers and fail who waits with Closed. Idempotent."""
        self.gate.close()

    def stats(self) -> FlowStats:
        """Everything one may want to know, at this moment."""
        self._count_all_unbound()
        gate = self.gate
        longest_s, longest_label = gate.longest_wait()
        lanes = self._lanes.log if self._lanes else ()
        stats = self.meter.stats(
            self.law,
            (*self.decisions, *lanes),
            self.decisions.reasons | (self._lanes.log.reasons if self._lanes else {}),
            value=gate.limit,
            inflight=gate.inflight,
            waiting=gate.waiting,
        )
        return replace(
            stats,
            wait_ms_longest=longest_s * 1e3,
            longest_label=longest_label,
            brake=self._beta.value if self._beta else 1.0,
            pinned=self.pinned is not None,
            shadow=self.shadow,
            words=str(getattr(self.law, "words", "")),
        )

    # -- for Slot --

    def check_deadline(self, deadline_s: float | None, now_s: float) -> None:
        """Give the law a chance to move while nothing ends, and refuse a wait that cannot fit."""
        if now_s >= self._tick_due_s:
            self.learn_time(now_s)
        gate = self.gate
        if deadline_s is None or not self._mean_service.count:
            return
        # Little's law: who is behind `waiting` others is in after that many completions, and has to run.
        predicted_s = self._mean_service.value * (gate.waiting + 1) / gate.limit
        if now_s + predicted_s > deadline_s:
            raise gate.refuse(
                LimitReached(
                    f"the wait of about {predicted_s:.3f} s does not fit the deadline",
                    waiting=gate.waiting,
                    predicted_wait_s=predicted_s,
                    retry_after_s=predicted_s,
                )
            )

    def learn(self, sample: Sample) -> None:
        """Take one finished call into the statistics and, unless the law is off, into the law."""
        self.count(sample)
        if self._lanes is not None:
            self._lanes.observe(sample)
        if self.pinned is not None and not self.shadow:
            return
        if self._brake is not None and self._braking(self._brake, sample):
            return
        if self.obeyed.observe(sample) and not self.shadow:
            self._apply()

    def count(self, sample: Sample) -> None:
        """Take one finished call into the statistics only: nothing bound, so a law has nothing to learn."""
        meter = self.meter
        meter.completed += 1
        meter.waits.record(sample.wait_s)
        service_s = sample.finished_s - sample.started_s
        meter.services.record(service_s)
        self._mean_service.add(service_s)
        if sample.outcome is Outcome.OVERLOAD:
            meter.overloads += 1
        self._tick_due_s = sample.finished_s + TICK_S

    def count_unbound(self, service_s: float) -> None:
        """The least that is counted of a call that did not wait, while nothing bound."""
        unbound = self._unbound
        unbound.append(service_s)
        if len(unbound) >= UNBOUND_KEPT:
            self._count_all_unbound()

    @property
    def completed(self) -> int:
        """How many calls have ended."""
        return self.meter.completed + len(self._unbound)

    @property
    def mean_service_s(self) -> float:
        """Seconds a call takes, of those that the law was told of; 0.0 when there was none."""
        return self._mean_service.value if self._mean_service.count else 0.0

    def relieve(self, decision: Decision, now_s: float) -> None:
        """Put a factor on the limit, up to the law's ceiling: callers starve below it (laws/standstill)."""
        if decision is not self._relief:
            changed = decision.value != self._relief.value
            self._relief = decision
            if changed and self.pinned is None and not self.shadow:
                self.decisions.record(now_s, decision.value, f"relief_{decision.reason}", decision.inputs)
                self._apply()

    def learn_time(self, now_s: float) -> None:
        """Tell the law that time passed without a completion."""
        self._tick_due_s = now_s + TICK_S
        if (self.pinned is not None and not self.shadow) or self.braked:
            return
        if self.obeyed.tick(now_s) and not self.shadow:
            self._apply()

    def _count_all_unbound(self) -> None:
        self.meter.completed += len(self._unbound)
        for service_s in self._unbound:
            self.meter.services.record(service_s)
        self._unbound.clear()

    def _braking(self, brake: Brake, sample: Sample) -> bool:
        beta = brake.observe(sample)
        if beta is not self._beta:
            self._beta = beta
            self.braked = beta.value < 1.0
            self.decisions.record(sample.finished_s, beta.value, f"brake_{beta.reason}", beta.inputs)
            if not self.shadow:
                self._apply()
        return self.braked

    def _apply(self) -> None:
        beta = self._beta.value if self._beta else 1.0
        relieved = min(self.obeyed.value * self._relief.value, max(self.law.ceiling, self.obeyed.value))
        self.gate.resize(max(1.0, relieved * beta))
