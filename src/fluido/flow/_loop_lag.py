"""Event loop lag: how late the loop runs its timers, as samples for a law."""

import asyncio
import time
from collections.abc import Callable

from fluido._metrics import FlowStats, Meter
from fluido._sample import Sample
from fluido.flow._obeyed import Obeyed
from fluido.laws._base import Law

PERIOD_S = 0.05


class LoopLag:
    """Between `open()` and `close()`, one timer every 50 ms; each lateness goes to the law (StreamGap)."""

    kind = "loop_lag"

    def __init__(
        self, law: Law, *, name: str = "loop", clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.name = name
        self.law = law
        self._clock = clock
        self._obeyed = Obeyed(law)
        self._timer: asyncio.TimerHandle | None = None
        self._meter = Meter(name, self.kind, waits=False)

    @property
    def value(self) -> float:
        """What the law last decided."""
        return self._obeyed.value

    def open(self) -> None:
        """Start measuring on the running loop. Idempotent."""
        if self._timer is None:
            self._arm(asyncio.get_running_loop())

    def close(self) -> None:
        """Stop. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def learn(self, sample: Sample) -> None:
        """Take a lateness that somebody else measured on this loop: the service time of the sample."""
        self._meter.completed += 1
        self._meter.services.record(sample.service_s)
        self._obeyed.observe(sample)

    def stats(self) -> FlowStats:
        """The lag as `service`, and the law's decisions."""
        log = self._obeyed.log
        return self._meter.stats(self.law, log, log.reasons, value=self._obeyed.value)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(PERIOD_S, self._fire, loop, self._clock() + PERIOD_S)

    def _fire(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        now_s = max(due_s, self._clock())
        self.learn(Sample("", due_s, now_s, 0.0, 0, 0.0))
        self._arm(loop)
