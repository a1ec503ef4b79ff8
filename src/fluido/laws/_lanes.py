"""Which classes of work are heavy, so that short calls need not wait behind them.

A class is a label (a statement's fingerprint, a route); its cost is a mean of *service* times, so that
waiting does not count. Heavy means more than 10 times the flow's median call, for at least 20 calls; light
again below 5 times (the gap keeps a class from flapping). The median weighs each class by how often it came
lately.
"""

import math

from fluido._measure import Ewma
from fluido._sample import Outcome, Sample
from fluido.laws._base import Decision

HEAVY_FROM = 10.0
LIGHT_BELOW = 5.0
MIN_CALLS = 20
COST_WEIGHT = 0.1
REVIEW_EVERY = 16
FORGET_S = 600.0
FADE = 0.9  # of every class's share at each review


class _Class:
    __slots__ = ("cost", "heavy", "last_s", "share")

    def __init__(self) -> None:
        self.cost = Ewma(COST_WEIGHT)
        self.share = 0.0
        self.heavy = False
        self.last_s = -math.inf


class Lanes:
    """Decides how many classes are heavy; `is_heavy(label)` tells which. At most `max_classes` are kept."""

    name = "lanes"
    floor = 0.0

    def __init__(self, *, max_classes: int = 512) -> None:
        if max_classes < 1:
            raise ValueError(f"max_classes must be at least 1, not {max_classes}")
        self.max_classes = max_classes
        self.ceiling = float(max_classes)
        self._classes: dict[str, _Class] = {}
        self._decision = Decision(0.0, "start")
        self._since_review = 0

    @property
    def value(self) -> float:
        """How many classes are heavy."""
        return self._decision.value

    def is_heavy(self, label: str) -> bool:
        """Whether calls of this class belong into the heavy lane; unknown classes are light."""
        known = self._classes.get(label)
        return known is not None and known.heavy

    def observe(self, sample: Sample, /) -> Decision:
        """Learn the cost of one call."""
        service_s = sample.service_s
        if sample.outcome is Outcome.IGNORED or not 0 <= service_s < math.inf:
            return self._decision
        known = self._classes.get(sample.label)
        if known is None:
            known = self._admit(sample.label)
        known.cost.add(service_s)
        known.share += 1
        known.last_s = sample.finished_s
        self._since_review += 1
        if self._since_review >= REVIEW_EVERY:
            self._since_review = 0
            self._review(sample.finished_s)
        return self._decision

    def tick(self, now_s: float, /) -> Decision:
        """Forget classes that did not come for ten minutes."""
        if math.isfinite(now_s):
            self._review(now_s)
        return self._decision

    def _admit(self, label: str) -> _Class:
        if len(self._classes) >= self.max_classes:
            oldest = min(self._classes, key=lambda name: self._classes[name].last_s)
            del self._classes[oldest]
        return self._classes.setdefault(label, _Class())

    def _review(self, now_s: float) -> None:
        for label in [label for label, known in self._classes.items() if now_s - known.last_s > FORGET_S]:
            del self._classes[label]
        middle_s = self._median()
        for label, known in self._classes.items():
            cost_s = known.cost.value
            heavy = cost_s > (LIGHT_BELOW if known.heavy else HEAVY_FROM) * middle_s and middle_s > 0
            heavy = heavy and known.cost.count >= MIN_CALLS
            known.share *= FADE
            if heavy != known.heavy:
                known.heavy = heavy
                count = sum(other.heavy for other in self._classes.values())
                reason = f"{'heavy' if heavy else 'light'}:{label}"
                self._decision = Decision(float(count), reason, {"cost_s": cost_s, "median_s": middle_s})

    def _median(self) -> float:
        """The cost of the class in the middle of the calls, not of the classes."""
        ordered = sorted(self._classes.values(), key=lambda known: known.cost.value)
        half = sum(known.share for known in ordered) / 2
        for known in ordered:
            half -= known.share
            if half <= 0:
                return known.cost.value
        return 0.0
