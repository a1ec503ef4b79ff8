"""Two neighbouring limits compared in short turns, so that a slower minute hits both alike."""

import math

TURN = 5  # calls at one of the two limits of a pair
USUAL_SCATTER = 0.2  # of a pair; what is believed before pairs were seen


class PairedTurns:
    """Whether `lower + 1` in flight is worth more than `lower`, asked in pairs of turns.

    `origin` is the limit in force before, one of the two; the first turn of every other pair is its.
    """

    __slots__ = ("_count", "_first", "_gains", "_sum", "lower", "origin", "seen", "turn")

    def __init__(self, origin: int, other: int) -> None:
        self.origin = origin
        self.lower = min(origin, other)
        self.turn = 0
        self.seen = 0
        self._count = 0
        self._sum = 0.0
        self._first = 0.0
        self._gains: list[float] = []

    @property
    def limit(self) -> int:
        """The limit of the turn that goes on: o x, x o, o x, ..."""
        is_other = (self.turn + 1) // 2 % 2 == 1
        return 2 * self.lower + 1 - self.origin if is_other else self.origin

    @property
    def pairs(self) -> int:
        """How many pairs of turns are complete."""
        return len(self._gains)

    @property
    def gain(self) -> float:
        """ln of throughput at `lower + 1` over that at `lower`."""
        return sum(self._gains) / len(self._gains)

    @property
    def error(self) -> float:
        """Standard error of `gain`; a few pairs that agree by chance do not make it vanish."""
        squares = sum((gain - self.gain) ** 2 for gain in self._gains)
        return math.sqrt((squares + USUAL_SCATTER**2) / len(self._gains) ** 2)

    def add(self, ln_unit_s: float) -> bool:
        """A call took so long per unit of work; whether that completed a turn."""
        self._count += 1
        self._sum += ln_unit_s
        if self._count < TURN:
            return False
        mean = self._sum / self._count
        if self.turn % 2 == 0:
            self._first = mean
        else:
            slowed = mean - self._first if self.limit > self.lower else self._first - mean
            self._gains.append(math.log((self.lower + 1) / self.lower) - slowed)
        self.turn += 1
        self.seen = self._count = 0
        self._sum = 0.0
        return True
