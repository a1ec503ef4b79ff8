"""An LLM engine as a limiter meets it: a few slots, and a queue of its own in front of them."""

import heapq
import math
from collections import deque
from dataclasses import dataclass

from fluido.testing.curve import Curve
from fluido.testing.server import Job, Station


@dataclass(frozen=True, slots=True)
class EngineSlots:
    """`count` slots; a call of mean work is read for `prefill_s`, then generates for `decode_s`."""

    count: int
    prefill_s: float
    decode_s: float

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.prefill_s < math.inf or not 0 < self.decode_s < math.inf:
            raise ValueError("slots need a count of 1 or more and finite times")

    @property
    def curve(self) -> Curve:
        """The throughput that any number of calls inside can have: what the best static limit is held to."""
        return Curve.knee(self.count, self.prefill_s + self.decode_s)


class SlotStation(Station[Job]):
    """A Station whose jobs queue for a slot, first come, first served, and keep it to their end.

    Work stretches the generation only, not the prefill. Fewer slots take effect as jobs end.
    """

    __slots__ = ("_busy", "_waiting", "engine")

    def __init__(self, engine: EngineSlots) -> None:
        super().__init__(engine.curve)
        self.engine = engine
        self._busy = 0
        self._waiting: deque[tuple[Job, float]] = deque()

    def resize(self, now_s: float, engine: EngineSlots) -> None:
        """Be another engine from now on; who generates goes on."""
        self.engine = engine
        self.advance(now_s)
        self._fill()

    def advance(self, now_s: float) -> None:
        """Nobody shares anything: time passes."""
        self._now_s = now_s

    def enter(self, now_s: float, job: Job, work: float) -> None:
        """Join the queue of the engine."""
        self.advance(now_s)
        self.jobs += 1
        self._waiting.append((job, work))
        self._fill()

    def next_end_s(self) -> float:
        """When the next generation ends."""
        return self._queue[0][0] if self._queue else math.inf

    def leave(self, now_s: float) -> Job:
        """Take the job that ends at `now_s`; the next one gets its slot."""
        self.advance(now_s)
        _, _, job = heapq.heappop(self._queue)
        self.jobs -= 1
        self._busy -= 1
        self._fill()
        return job

    def _fill(self) -> None:
        engine = self.engine
        while self._waiting and self._busy < engine.count:
            job, work = self._waiting.popleft()
            self._busy += 1
            self._serial += 1
            ends_s = self._now_s + engine.prefill_s + work * engine.decode_s
            heapq.heappush(self._queue, (ends_s, self._serial, job))
