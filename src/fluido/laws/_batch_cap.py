"""How many rows a full batch should hold: the size at which one row is cheapest.

The time of a batch of n rows is about T(n) = a + b n + d n^2 (a round trip, work per row, and what grows
faster: parsing, locks, memory). Time per row is least at c = sqrt(a / d), and symmetric around it in log n.
So the law alternates the cap between c / 1.22 and 1.22 c among *full* batches, compares the medians of time
per row after four of each, and moves c towards the cheaper: by 1.5, or by 1.22 after the direction turned.
Batches that are not full teach nothing: then the cap does not bind.
"""

import math
from statistics import median

from fluido._sample import Outcome, Sample
from fluido.laws._base import Decision

STEP = 1.5
ARM = STEP**0.5  # from the centre to either probe
BAND = 0.015  # differences below are noise
ROUND = 4


class BatchCap:
    """Decides the cap of the next batch. `sample.units` is the rows of a batch, `sample.limit` its cap.

    An overload halves the cap. ValueError unless 1 <= floor <= start <= ceiling.
    """

    name = "batch_cap"

    def __init__(self, start: float = 32, *, floor: float = 1, ceiling: float = 20_000) -> None:
        if not (1 <= floor <= start <= ceiling < math.inf):
            raise ValueError(f"need 1 <= floor <= start <= ceiling, not {floor}, {start}, {ceiling}")
        self.floor = float(floor)
        self.ceiling = float(ceiling)
        self._last_direction = 0
        self._per_row: tuple[list[float], list[float]] = ([], [])
        self._decision = self._move(float(start), "start", {})

    @property
    def value(self) -> float:
        """The cap to use now: the centre, or a probe below or above it."""
        return self._decision.value

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from one written batch."""
        if sample.outcome is Outcome.OVERLOAD:
            return self._move(self._centre / 2, "overload", {})
        rows, service_s = sample.units, sample.service_s
        usable = sample.outcome is Outcome.OK and rows >= 1 and 0 < service_s < math.inf
        if not usable or rows < math.floor(sample.limit):
            return self._decision
        below, above = self._per_row
        if math.floor(sample.limit) == math.floor(self._low):
            below.append(service_s / rows)
        elif math.floor(sample.limit) == math.floor(self._high):
            above.append(service_s / rows)
        if len(below) >= ROUND and len(above) >= ROUND:
            return self._compare(median(below), median(above))
        wanted = self._low if len(below) < ROUND else self._high
        if wanted != self._decision.value:
            self._decision = Decision(wanted, "probe", {"centre": self._centre})
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        """Time alone teaches nothing."""
        return self._decision

    def _compare(self, below_s: float, above_s: float) -> Decision:
        inputs = {"row_us_below": below_s * 1e6, "row_us_above": above_s * 1e6, "centre": self._centre}
        if above_s < below_s * (1 - BAND):
            direction, reason = 1, "larger_is_cheaper"
        elif above_s > below_s * (1 + BAND):
            direction, reason = -1, "smaller_is_cheaper"
        else:
            direction, reason = 0, "flat"
        factor = ARM if direction == -self._last_direction else STEP
        self._last_direction = direction
        return self._move(self._centre * factor**direction, reason, inputs)

    def _move(self, centre: float, reason: str, inputs: dict[str, float]) -> Decision:
        self._centre = min(max(centre, self.floor), self.ceiling)
        self._per_row = ([], [])
        self._low = max(self.floor, self._centre / ARM)
        # Two different whole numbers of rows, also where the centre is 1.
        self._high = min(self.ceiling, max(math.floor(self._low) + 1.0, self._centre * ARM))
        self._decision = Decision(self._centre, reason, inputs)
        return self._decision
