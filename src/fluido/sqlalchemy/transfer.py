"""What a round trip and a row cost, from the times of blocks of different sizes."""

FORGET = 0.8


class Transfer:
    """A straight line through (rows, seconds) of the last blocks: seconds = round trip + rows * per row."""

    __slots__ = ("_n", "_nn", "_nt", "_shortest_s", "_t", "_w")

    def __init__(self) -> None:
        self._w = self._n = self._t = self._nn = self._nt = 0.0
        self._shortest_s = 0.0

    def add(self, rows: int, took_s: float) -> None:
        """One block that was fetched."""
        self._shortest_s = took_s if not self._w else min(1.05 * self._shortest_s, took_s)
        self._w = FORGET * self._w + 1.0
        self._n = FORGET * self._n + rows
        self._t = FORGET * self._t + took_s
        self._nn = FORGET * self._nn + rows * rows
        self._nt = FORGET * self._nt + rows * took_s

    @property
    def known(self) -> bool:
        """Whether any block was seen."""
        return self._w > 0.0

    @property
    def per_row_s(self) -> float:
        """Seconds a row takes on its way; 0 until blocks of different sizes were seen."""
        spread = self._w * self._nn - self._n * self._n
        if spread <= 1e-9 * max(self._nn, 1.0):
            return 0.0
        return max(0.0, (self._w * self._nt - self._n * self._t) / spread)

    @property
    def round_trip_s(self) -> float:
        """Seconds of an empty block; never more than the shortest one took."""
        if not self._w:
            return 0.0
        return min(max(0.0, (self._t - self.per_row_s * self._n) / self._w), self._shortest_s)
