"""Concurrency limiter: a gate that obeys a law."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fluido._measure import Ewma
from fluido._metrics import DecisionLog, FlowStats, Meter
from fluido._sample import Outcome, Sample
from fluido.errors import LimitReached
from fluido.flow._gate import Gate
from fluido.flow._label import current_label
from fluido.flow._lanes import LanedGate
from fluido.flow._memory import Kept
from fluido.flow._obeyed import Obeyed
from fluido.flow._permit import Permit
from fluido.flow._standing import Standing
from fluido.laws._base import Decision, Law
from fluido.laws._brake import Brake
from fluido.laws._fixed import Fixed
from fluido.laws._lanes import Lanes
from fluido.laws._standstill import Standstill

TICK_S = 0.25
LONGEST_PAUSE_S = 60.0  # a server that asked for more is looked at once a minute: it may have been mistaken
UNBOUND_KEPT = 256  # service times that are counted together: one by one they are felt by a single caller


def ignore_failures(_error: BaseException, /) -> Outcome:
    """The default classifier: a failed call says nothing about capacity."""
    return Outcome.IGNORED


class Limiter:
    """`async with limiter.permit():` admits as many calls at once as its law finds worthwhile.

    `classify` tells what a raised exception says about capacity. With `brake`, the limit is frozen and
    scaled down while calls fail; with `standstill`, it is doubled up to the law's ceiling while callers wait
    and nothing moves; with `lanes`, classes of work that it finds heavy fill only a part of the limit.
    `kept` saves what the law has learned. In `shadow` mode the law computes and its decisions are logged, but
    the limit stays where it was (or where `pin` puts it). A law that raises or leaves its bounds is held at
    its last value. A drop-in that has its own `gate` hands it in.
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
        standstill: Standstill | None = None,
        lanes: Lanes | None = None,
        classify: Callable[[BaseException], Outcome] = ignore_failures,
        gate: Gate | None = None,
        standing_share: float = 1.0,
        kept: Kept | None = None,
    ) -> None:
        self.name = name
        self.law = law
        self.clock = clock
        self.classify = classify
        self.shadow = shadow
        self.pinned: float | None = None
        self.obeyed = Obeyed(law)
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
        self._standing = Standing(self, standstill) if standstill else None
        self.kept = kept
        # Whether it matters to the law what a sample is called; a drop-in may save itself to find out.
        self.names_matter = not isinstance(law, Fixed)
        # Whether the law tries a value above the one it holds: then it has to be told of every call.
        self.probing = False
        self._tick_due_s = -math.inf
        self._unbound: list[float] = []
        self._mean_service = Ewma(0.02)

    def permit(self, *, label: str | None = None, deadline_s: float | None = None) -> Permit:
        """One admission, to be used with `async with`. `label` defaults to the current one.

        Entering raises LimitReached at once when the queue is full or the wait cannot fit `deadline_s` (a
        time on the limiter's clock), WaitTimeout when that passes in the queue, Closed after `close()`.
        """
        return Permit(self, current_label() if label is None else label, deadline_s)

    def slot(self, *, label: str | None = None, deadline_s: float | None = None) -> Permit:
        """The former name of `permit()`; goes with the next version."""
        warnings.warn("Limiter.slot() is now called permit()", DeprecationWarning, stacklevel=2)
        return self.permit(label=label, deadline_s=deadline_s)

    def pause(self, seconds: float) -> None:
        """Let nobody in for so long, because the server asked for it: a minute at most, then calls try it.

        Those inside go on, those who wait keep their place. Of several pauses the one that ends last counts.
        In shadow mode nothing happens.
        """
        now_s = self.clock()
        if not self.shadow and self.gate.pause(now_s + min(seconds, LONGEST_PAUSE_S)):
            self.decisions.record(now_s, self.gate.limit, "asked_to_wait", {"seconds": seconds})

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

    @property
    def decisions(self) -> DecisionLog:
        """What the law decided, and by hand, newest last."""
        return self.obeyed.log

    def close(self) -> None:
        """Refuse newcomers and fail who waits with Closed; save what was learned. Idempotent."""
        self.gate.close()
        self.save()

    def save(self) -> None:
        """Save what the law has learned, if it is to be kept and there is news."""
        if self.kept is not None:
            self.kept.save()

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
            reference=float(getattr(self.law, "reference", 0.0)),
            compared=dict(getattr(self.law, "compared", {})),
            words=str(getattr(self.law, "words", "")),
        )

    # -- for Permit --

    def about_to_wait(self, deadline_s: float | None, now_s: float) -> None:
        """Give the law a chance to move while nothing ends, and refuse a wait that cannot fit."""
        if now_s >= self._tick_due_s:
            self.learn_time(now_s)
        if self._standing is not None:
            self._standing.arm()
        gate = self.gate
        if deadline_s is None:
            return
        # Little's law: who is behind `waiting` others is in after that many completions, and has to run.
        predicted_s = gate.paused_s(now_s) + self.mean_service_s * (gate.waiting + 1) / gate.limit
        if predicted_s > 0.0 and now_s + predicted_s > deadline_s:
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
        """Put a factor on the limit, up to the law's ceiling: callers starve below it (laws/_standstill)."""
        if decision is not self._relief:
            changed = decision.value != self._relief.value
            self._relief = decision
            if changed and self.pinned is None and not self.shadow:
                self.decisions.record(now_s, decision.value, f"relief_{decision.reason}", decision.inputs)
                self._apply()

    def learn_time(self, now_s: float) -> None:
        """Tell the law that time passed without a completion."""
        self._tick_due_s = now_s + TICK_S
        if self.kept is not None:
            self.kept.save_soon(now_s)
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
        self.probing = self.obeyed.value > getattr(self.law, "limit", math.inf)
        self.gate.resize(max(1.0, relieved * beta))
        if self.kept is not None:
            self.kept.save_soon(self.clock())
