"""What lies in Redis under a key of the cache, and when it is due for another computation."""

import json
import math
from dataclasses import dataclass
from typing import Any

# What is written has one shape; whoever changes it, or what a value looks like, counts up. Replicas of two
# releases then miss each other's entries instead of misreading them.
VERSION = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, the second until which it is fresh, and how long it took to compute."""

    value: Any
    fresh_until_s: float
    cost_s: float = 0.0

    def fresh(self, now_s: float) -> bool:
        """Whether the value may be handed out without a thought."""
        return now_s < self.fresh_until_s

    def due_early(self, now_s: float, chance: float, eagerness: float) -> bool:
        """Whether this caller should compute it again although it is fresh.

        XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB
        2015): each caller draws `chance` in (0, 1] and goes early by cost x eagerness x -ln(chance). Costly
        values are recomputed earlier, and of many callers one goes first.
        """
        return now_s - self.cost_s * eagerness * math.log(chance) >= self.fresh_until_s

    def pack(self) -> bytes:
        """As JSON. Raises TypeError or ValueError for values that JSON does not know."""
        document = [VERSION, self.fresh_until_s, self.cost_s, self.value]
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> "Entry":
        """Raises ValueError for what `pack` did not write."""
        document = json.loads(packed)
        if not isinstance(document, list) or len(document) != 4 or document[0] != VERSION:
            raise ValueError("not an entry of this cache")
        _, fresh_until_s, cost_s, value = document
        if not isinstance(fresh_until_s, int | float) or not isinstance(cost_s, int | float):
            raise ValueError("not an entry of this cache")
        return cls(value, fresh_until_s, cost_s)


@dataclass(frozen=True, slots=True)
class Packed:
    """An entry ready to be sent: Redis drops it after `life_ms`, which is at the second `ends_s`."""

    name: str
    data: bytes
    life_ms: int
    ends_s: float
