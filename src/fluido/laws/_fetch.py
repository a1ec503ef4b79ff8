"""How many rows a cursor asks for at once: enough to hide the round trip, never more than memory allows.

n = clip(min(bytes / row bytes, max(n_lat, n_hide)), 1, 10000). n_lat makes the round trip at most 5 % of
the time the rows take; n_hide lets the next block arrive while this one is consumed (double buffering),
with half as much in reserve. `bytes` is the target, and up to four times as much where the round trip takes
5 ms and longer than a block of the target does: there a small block buys nothing but waiting. Starts at 100
and grows at most four times a block, so the first rows come fast; a block of more than twice its bytes halves
n at once, because rows that grow have filled memories before (pgjdbc#3483, #2970). A consumer that stopped
early twice gets half.
"""

import math
from collections import deque
from dataclasses import dataclass

from fluido._measure import Ewma
from fluido._sample import Sample
from fluido.laws._base import Decision

TARGET_BYTES = 2.0**20
OVERHEAD = 0.05
RESERVE = 1.5
START, FEWEST, MOST = 100.0, 50.0, 10_000.0
GROWTH = 4.0
# Where a round trip takes so long, and longer than the rows of a block, there may be so many times the bytes.
FAR_S, FAR = 0.005, 4.0


@dataclass(frozen=True, slots=True)
class Block:
    """One block that was consumed. `consumed` < `rows` when the consumer stopped early."""

    rows: int
    bytes: float
    round_trip_s: float
    server_s: float
    consume_s: float
    consumed: int
    row_bytes_p95: float = 0.0


class Fetch:
    """Decides the rows of the next block for one statement. Keep one per fingerprint."""

    name = "fetch"
    floor = 1.0
    ceiling = MOST

    def __init__(self, *, target_bytes: float = TARGET_BYTES) -> None:
        if not 0 < target_bytes < math.inf:
            raise ValueError(f"target_bytes must be finite and above zero, not {target_bytes}")
        self.target_bytes = target_bytes
        self._decision = Decision(START, "start")
        self._row_bytes = Ewma(0.3)
        self._round_trip = Ewma(0.3)
        self._per_row = Ewma(0.3)
        self._consume_rate = Ewma(0.3)
        self._widest: deque[float] = deque(maxlen=3)
        self._early = 0

    @property
    def value(self) -> float:
        """Rows to ask for."""
        return self._decision.value

    @property
    def block_bytes(self) -> float:
        """Bytes of a block at most: more where the round trip is longer than the rows of a block take."""
        rows_s = self.target_bytes / self._width * self._per_row.value if self._width > 0 else 0.0
        return self.target_bytes * min(max(self._round_trip.value / max(rows_s, FAR_S), 1.0), FAR)

    @property
    def hard_rows(self) -> float:
        """More rows than this could pass eight times the target: a cursor must not ask for them."""
        width = self._width
        return max(1.0, 8 * self.target_bytes / width) if width > 0 else MOST

    @property
    def _width(self) -> float:
        return max(self._row_bytes.value, *self._widest) if self._widest else self._row_bytes.value

    def observe(self, _sample: Sample, /) -> Decision:
        """A call alone says nothing about rows; see `observe_block`."""
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        """Time alone teaches nothing."""
        return self._decision

    def observe_block(self, block: Block) -> Decision:
        """Learn from one block; nonsense (no rows, negative or NaN figures) is ignored."""
        figures = (block.bytes, block.round_trip_s, block.server_s, block.consume_s, block.row_bytes_p95)
        if block.rows < 1 or not all(0 <= figure < math.inf for figure in figures):
            return self._decision
        self._row_bytes.add(block.bytes / block.rows)
        self._widest.append(max(block.row_bytes_p95, block.bytes / block.rows))
        self._round_trip.add(block.round_trip_s)
        self._per_row.add(block.server_s / block.rows)
        if block.consumed > 0 and block.consume_s > 0:
            self._consume_rate.add(block.consumed / block.consume_s)
        if block.bytes > 2 * self.block_bytes:
            return self._move(self.value / 2, "wide_rows")
        self._early = self._early + 1 if 2 * block.consumed < block.rows else 0
        if self._early >= 2:
            self._early = 0
            return self._move(self.value / 2, "stopped_early")
        return self._move(min(self._wanted(), GROWTH * self.value), "hide_round_trip")

    def out_of_memory(self) -> Decision:
        """The server or we could not hold a block: a quarter."""
        return self._move(self.value / 4, "memory")

    def _wanted(self) -> float:
        round_trip_s = self._round_trip.value
        amortise = (
            round_trip_s * (1 / OVERHEAD - 1) / self._per_row.value if self._per_row.value > 0 else MOST
        )
        hide = round_trip_s * self._consume_rate.value * RESERVE
        wanted = max(amortise, hide, FEWEST)
        width = self._width
        return min(wanted, self.block_bytes / width) if width > 0 else wanted

    def _move(self, rows: float, reason: str) -> Decision:
        rows = float(math.floor(min(max(rows, 1.0), MOST, self.hard_rows)))
        if rows != self.value:
            inputs = {"row_bytes": self._row_bytes.value, "round_trip_s": self._round_trip.value}
            self._decision = Decision(rows, reason, inputs)
        return self._decision
