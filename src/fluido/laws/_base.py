"""The smallest interface a law needs: it is told what happened, and answers by `return`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fluido._sample import Sample


@dataclass(frozen=True, slots=True)
class Decision:
    """The value that should be in force from now on, why, and the numbers it was computed from."""

    value: float
    reason: str
    inputs: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Law(Protocol):
    """Decides one number from what it is told. No clock, no I/O, no randomness, never an exception.

    A law answers with the *same* Decision object while nothing changed: a flow compares by identity.
    """

    @property
    def name(self) -> str:
        """What metrics and pages call this law."""

    @property
    def floor(self) -> float:
        """The value never goes below."""

    @property
    def ceiling(self) -> float:
        """The value never goes above."""

    @property
    def value(self) -> float:
        """What is in force now."""

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from a call that ended; `sample.finished_s` is now."""

    def tick(self, now_s: float, /) -> Decision:
        """Time passed without news."""
