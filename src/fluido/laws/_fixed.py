"""The law that does nothing: fluido without adaptation."""

import math

from fluido._sample import Sample
from fluido.laws._base import Decision


class Fixed:
    """Always the same value. Raises ValueError unless it is finite and above zero."""

    __slots__ = ("_decision",)
    name = "fixed"

    def __init__(self, value: float) -> None:
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"a fixed value must be finite and above zero, not {value}")
        self._decision = Decision(float(value), "fixed")

    @property
    def value(self) -> float:
        """The value given at construction."""
        return self._decision.value

    floor = value
    ceiling = value

    def observe(self, _sample: Sample, /) -> Decision:
        """Learn nothing."""
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        """Do nothing."""
        return self._decision
