"""One admission through a limiter: an asynchronous context manager, and what may be said inside of it."""

import math
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Protocol, Self

from fluido._sample import Outcome, Sample
from fluido.flow._gate import Gate


class Admitting(Protocol):
    """The limiter, as far as a permit uses it."""

    @property
    def gate(self) -> Gate:
        """Who lets it in."""

    @property
    def clock(self) -> Callable[[], float]:
        """The time that deadlines are on."""

    @property
    def classify(self) -> Callable[[BaseException], Outcome]:
        """What an error says about capacity."""

    def about_to_wait(self, deadline_s: float | None, now_s: float) -> None:
        """Refuse a wait that cannot fit."""

    def learn(self, sample: Sample) -> None:
        """Take one finished call."""

    def pause(self, seconds: float) -> None:
        """Let nobody in for so long."""


class Permit:
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

    def __init__(self, limiter: Admitting, label: str, deadline_s: float | None) -> None:
        self._limiter = limiter
        self._deadline_s = deadline_s
        self._wait_s = 0.0
        self.label = label
        self.outcome: Outcome | None = None
        self.units = 1.0

    def refused(self, retry_after: float | str | None = None) -> None:
        """Say, inside the block, that the server refused this call (429, 503): overload, and no work done.

        `retry_after` is what it said about coming back: seconds, or the header `Retry-After` as it came.
        Nobody is let in until then, for a minute at most (`Limiter.pause`).
        """
        self.outcome = Outcome.OVERLOAD
        wait_s = retry_after_s(retry_after)
        if wait_s > 0:
            self._limiter.pause(wait_s)

    async def __aenter__(self) -> Self:
        limiter = self._limiter
        gate = limiter.gate
        if gate.try_acquire(self.label):
            self.started_s = limiter.clock()
        else:
            joined_s = limiter.clock()
            limiter.about_to_wait(self._deadline_s, joined_s)
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


def retry_after_s(said: float | str | None) -> float:
    """Seconds of a `Retry-After`, which is a number or an HTTP date; 0.0 for nothing and for nonsense."""
    if said is None:
        return 0.0
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(str(said)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return seconds if 0.0 < seconds < math.inf else 0.0
