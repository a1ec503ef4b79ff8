"""Whether the engine takes calls at all: one that is up and refuses everything does not serve."""

import time
from collections.abc import Callable

from fluido.llm import CallRejected, PromptTooLong

IN_A_ROW = 3
# So long after the last refusal it is tried again: without traffic nobody would find out that it is mended.
REMEMBERED_S = 15.0


class Refusals:
    """Counts calls that the engine refused one after the other. A prompt that is too long is its caller's."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._count = 0
        self._last_s = 0.0

    def learn(self, error: BaseException | None) -> None:
        """Take the end of a call: None is an answer."""
        if error is None:
            self._count = 0
        elif isinstance(error, CallRejected) and not isinstance(error, PromptTooLong):
            self._count += 1
            self._last_s = self._clock()

    def reason(self) -> str | None:
        """Return why the engine does not serve, or None."""
        if self._count < IN_A_ROW or self._clock() - self._last_s > REMEMBERED_S:
            return None
        return f"it refused the last {self._count} requests: the model, or its template, is wrong"
