"""How the waits that were predicted compare with those that came true."""

LEARN_SHARE = 0.1
LEARN_FROM_S = 0.05
SLOWEST, FASTEST = 4.0, 0.02


class Pace:
    """A factor on predicted waits. The first wait that is seen replaces the guess, later ones correct it."""

    __slots__ = ("_seen", "factor")

    def __init__(self) -> None:
        self.factor = 1.0
        self._seen = 0

    def learn(self, waited_s: float, predicted_s: float) -> None:
        """A call waited so long before which that much work stood."""
        if predicted_s <= LEARN_FROM_S:
            return
        self._seen += 1
        share = max(1.0 / self._seen, LEARN_SHARE)
        self.factor += share * (min(SLOWEST, max(FASTEST, waited_s / predicted_s)) - self.factor)
