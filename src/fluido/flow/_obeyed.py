"""Guarded law: as a flow sees it, bounded, logged, and unable to fail a call."""

import logging
from collections.abc import Callable

from fluido._metrics import DecisionLog
from fluido._sample import Sample
from fluido.laws._base import Decision, Law

log = logging.getLogger("fluido.flow")


class Obeyed:
    """Asks the law, keeps its last good value inside its bounds, and logs every decision with its reason.

    A law can be anybody's: when it raises, answers NaN or leaves its bounds, the flow goes on with the last
    value (or the bound); the decisions name the exception, and the log `fluido.flow` shows the first.
    """

    __slots__ = ("_decision", "_told", "law", "log", "value")

    def __init__(self, law: Law) -> None:
        self.law = law
        self.log = DecisionLog()
        self.value = law.value
        self._decision: Decision | None = None
        self._told = False

    def observe(self, sample: Sample) -> bool:
        """Tell the law of a call that ended; True when the value in force changed."""
        return self.hear(self.law.observe, sample)

    def hear(self, told: Callable[[Sample], Decision], sample: Sample) -> bool:
        """The same by another ear of the law."""
        try:
            decision = told(sample)
        except Exception as error:  # noqa: BLE001  (a law can be anybody's; its bug must not fail the call)
            decision = self._failed(error)
        return decision is not self._decision and self._take(decision, sample.finished_s)

    def tick(self, now_s: float) -> bool:
        """Tell the law that time passed; True when the value in force changed."""
        try:
            decision = self.law.tick(now_s)
        except Exception as error:  # noqa: BLE001  (a law can be anybody's; its bug must not fail the call)
            decision = self._failed(error)
        return decision is not self._decision and self._take(decision, now_s)

    def _take(self, decision: Decision, now_s: float) -> bool:
        self._decision = decision
        value = min(max(decision.value, self.law.floor), self.law.ceiling)
        if value != value:  # noqa: PLR0124  (NaN)
            return False
        changed = value != self.value
        self.value = value
        if changed or decision.reason.startswith("law_failed"):
            self.log.record(now_s, value, decision.reason, decision.inputs)
        return changed

    def _failed(self, error: Exception) -> Decision:
        if not self._told:
            self._told = True
            log.error("the law %s failed: its last value stays in force", self.law.name, exc_info=error)
        return Decision(self.value, f"law_failed_{type(error).__name__}")
