"""What each fault cost, from what clients wrote down. Pure."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.faults.people import Try

# The old latency is back when this many answers in a row are, at their median, within this much of it.
ROW = 8
TOLERANCE = 1.5


@dataclass(frozen=True, slots=True)
class Window:
    """One fault as it happened, in seconds of the run, and what was seen at the servers meanwhile."""

    name: str
    began_s: float
    healed_s: float
    ended_s: float
    taken_over_s: float | None = None
    lost: int = 0
    doubled: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What clients saw of one fault. Times count from its beginning; None: it did not happen in time.

    `first_success_s` is the end of the first answer to a request sent after the fault; `last_error_s` the end
    of the last failed request; `old_latency_s` when a row of answers was as fast as before;
    `after_takeover_s` the first success after the new primary was there, of requests sent since the fault.
    """

    name: str
    requests: int
    errors: int
    by_code: dict[str, int]
    first_success_s: float | None
    last_error_s: float | None
    old_latency_s: float | None
    taken_over_s: float | None
    after_takeover_s: float | None
    lost: int
    doubled: int


def median_s(tries: Sequence[Try]) -> float:
    """The median time of an answer; `ValueError` when there was none."""
    answered = [one.took_s for one in tries if not one.error]
    if not answered:
        raise ValueError("nothing was answered")
    return statistics.median(answered)


def cost(window: Window, tries: Sequence[Try], usual_s: float) -> Cost:
    """Everything about one fault; `usual_s` is the median time of an answer before the first one."""
    # A request belongs to the window in which it ended: the next fault's victims are not this one's.
    touched = [one for one in tries if window.began_s <= one.at_s + one.took_s < window.ended_s]
    failed = [one for one in touched if one.error]
    since = sorted(
        (one for one in touched if not one.error and one.at_s >= window.began_s),
        key=lambda one: one.at_s + one.took_s,
    )
    ends = [one.at_s + one.took_s for one in since]
    taken_s = window.taken_over_s
    after = [end - taken_s for end in ends if end >= taken_s] if taken_s is not None else []
    return Cost(
        name=window.name,
        requests=len(touched),
        errors=len(failed),
        by_code=dict(Counter(one.error for one in failed)),
        first_success_s=ends[0] - window.began_s if ends else None,
        last_error_s=max((one.at_s + one.took_s for one in failed), default=window.began_s) - window.began_s
        if failed
        else None,
        old_latency_s=_back_to(since, window.began_s, usual_s * TOLERANCE),
        taken_over_s=taken_s - window.began_s if taken_s is not None else None,
        after_takeover_s=after[0] if after else None,
        lost=window.lost,
        doubled=window.doubled,
    )


def _back_to(answers: Sequence[Try], began_s: float, bound_s: float) -> float | None:
    """When the first row of answers began that is fast enough, in the order in which they were sent."""
    sent = sorted(answers, key=lambda one: one.at_s)
    for first in range(len(sent) - ROW + 1):
        row = sent[first : first + ROW]
        if statistics.median(one.took_s for one in row) <= bound_s:
            return row[0].at_s - began_s
    return None
