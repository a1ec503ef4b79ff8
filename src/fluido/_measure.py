"""Small pure estimators that laws and flows share."""

import math


class Ewma:
    """Exponentially weighted mean that starts at the first value; non-finite input is ignored."""

    __slots__ = ("count", "value", "weight")

    def __init__(self, weight: float) -> None:
        if not 0.0 < weight <= 1.0:
            raise ValueError(f"weight must be in (0, 1], not {weight}")
        self.weight = weight
        self.value = 0.0
        self.count = 0

    def add(self, value: float) -> float:
        """Take one value and answer the new mean."""
        if math.isfinite(value):
            # A plain mean until it has forgotten its first value: no long memory of a cold start.
            self.count += 1
            self.value += max(self.weight, 1.0 / self.count) * (value - self.value)
        return self.value

    def reset(self) -> None:
        """Forget everything."""
        self.value = 0.0
        self.count = 0


def clip(value: float, low: float, high: float) -> float:
    """`value` inside [low, high]; NaN becomes `low`."""
    return low if not value > low else min(value, high)
