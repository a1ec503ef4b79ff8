"""Where the time of one request went."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stages:
    """Milliseconds by stage. Stages that overlap both count."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.started_s = clock()
        self.ms: dict[str, float] = {}

    def elapsed_ms(self) -> float:
        """Milliseconds since the request arrived."""
        return (self._clock() - self.started_s) * 1e3

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time of the block to `name`, also when it raises."""
        began = self._clock()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (self._clock() - began) * 1e3
