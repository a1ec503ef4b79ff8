"""One finished piece of work, as a law sees it."""

from enum import Enum, unique
from typing import NamedTuple


@unique
class Outcome(Enum):
    """What a finished call says about the resource behind it."""

    OK = "ok"
    OVERLOAD = "overload"  # a timeout, a refusal, a lost connection: too much was asked
    IGNORED = "ignored"  # says nothing about capacity: a constraint, a cancelled caller


class Sample(NamedTuple):
    """A call that ended. Times are seconds on the flow's clock.

    `wait_s` was spent in our own queue, before `started_s`. `inflight` counts the calls admitted at
    `started_s`, this one included; `limit` is the limit that was in force then. `units` is the amount of
    work done when calls differ (rows, tokens). `mean_inflight` is the number in flight averaged over the
    call's time, 0 where the flow does not follow it.

    A named tuple and not a dataclass: one is built per call, and a frozen dataclass takes three times as
    long.
    """

    label: str
    started_s: float
    finished_s: float
    wait_s: float
    inflight: int
    limit: float
    outcome: Outcome = Outcome.OK
    units: float = 1.0
    mean_inflight: float = 0.0

    @property
    def service_s(self) -> float:
        """Seconds from admission to the end, without the wait in our queue."""
        return self.finished_s - self.started_s
