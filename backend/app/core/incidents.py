"""What an operator wants to find in the log and the metrics: one line each, bounded, without prompts or
secrets.

The kinds are a closed set, so the metric's labels are. Fields of a line are numbers, codes and short texts of
our own; what a user, a model or an address said does not belong here.
"""

import time
from collections.abc import Callable, Mapping
from enum import StrEnum

import structlog

log = structlog.get_logger("app.incidents")

LINES_PER_PERIOD = 10
PERIOD_S = 10.0


class Incident(StrEnum):
    """Kinds of events that are worth a line."""

    SERVER_ERROR = "server_error"
    WRONG_KEYS = "wrong_keys"
    STORAGE_TROUBLE = "storage_trouble"
    PART_LOST = "part_lost"
    PART_BACK = "part_back"
    STREAM_BROKEN = "stream_broken"
    ANSWER_CUT = "answer_cut"
    ANSWER_CLEANED = "answer_cleaned"
    SLOW_SENDER = "slow_sender"
    QUESTION_WITHDRAWN = "question_withdrawn"


_QUIET = frozenset({Incident.PART_BACK, Incident.ANSWER_CLEANED, Incident.QUESTION_WITHDRAWN})


class Incidents:
    """Counts every event, and writes at most `lines` lines of a kind in `period_s`: the next one says how
    many were left out."""

    def __init__(
        self,
        *,
        lines: int = LINES_PER_PERIOD,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines = lines
        self._period_s = period_s
        self._clock = clock
        self._counts = dict.fromkeys(Incident, 0)
        self._periods: dict[Incident, tuple[float, int]] = {}
        self._left_out = dict.fromkeys(Incident, 0)

    @property
    def counts(self) -> Mapping[Incident, int]:
        """How many of each kind since the start."""
        return dict(self._counts)

    def note(self, kind: Incident, **fields: str | float | None) -> None:
        """Count one, and write its line unless there were many just now."""
        self._counts[kind] += 1
        now_s = self._clock()
        began_s, written = self._periods.get(kind, (now_s, 0))
        if now_s - began_s >= self._period_s:
            began_s, written = now_s, 0
        if written >= self._lines:
            self._periods[kind] = (began_s, written)
            self._left_out[kind] += 1
            return
        self._periods[kind] = (began_s, written + 1)
        left_out, self._left_out[kind] = self._left_out[kind], 0
        more = {"left_out": left_out} if left_out else {}
        write = log.info if kind in _QUIET else log.warning
        write(kind.value, **fields, **more)


incidents = Incidents()
