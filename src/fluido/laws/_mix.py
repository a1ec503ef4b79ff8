"""What one call of each class weighs, so that a slot that drew more of the dear ones did not do less work."""

from collections.abc import Mapping

MAX_CLASSES = 64
KEEP = 0.98  # of the mean at each call
FADE = 0.5  # of every class's share at each weighing
OTHERS = "\0others"


class _Class:
    __slots__ = ("cost_s", "count", "share", "sum_s")

    def __init__(self) -> None:
        self.cost_s = 0.0
        self.share = 0.0
        self.sum_s = 0.0
        self.count = 0

    def settle(self) -> None:
        """Take the calls since the last weighing into the moving mean, as if one by one."""
        if self.count:
            weight = 1.0 - KEEP**self.count if self.share else 1.0
            self.cost_s += weight * (self.sum_s / self.count - self.cost_s)
            self.share += self.count
            self.sum_s = 0.0
            self.count = 0


class Mix:
    """Mean seconds of service per unit of work of at most 64 classes; later ones share one place."""

    __slots__ = ("_classes",)

    def __init__(self) -> None:
        self._classes: dict[str, _Class] = {}

    def name(self, label: str) -> str:
        """The class that a label is counted in."""
        return label if label in self._classes or len(self._classes) < MAX_CLASSES else OTHERS

    def add(self, label: str, cost_s: float, count: int = 1) -> None:
        """So many calls of this class took `cost_s` per unit, on average."""
        known = self._classes.get(label)
        if known is None:
            known = self._classes.setdefault(self.name(label), _Class())
        known.sum_s += cost_s * count
        known.count += count

    def weights(self, longest_s: float) -> tuple[Mapping[str, float], float]:
        """Weight of each class that takes at most `longest_s`, mean 1 over the calls, and their mean seconds.

        Longer classes get no weight: they end too rarely to be seen in a slot, and only use up capacity.
        """
        for known in self._classes.values():
            known.settle()
        short = {name: known for name, known in self._classes.items() if known.cost_s <= longest_s}
        total = sum(known.share for known in short.values())
        mean_s = sum(known.share * known.cost_s for known in short.values()) / total if total else 0.0
        weights = {name: known.cost_s / mean_s if mean_s else 1.0 for name, known in short.items()}
        for known in self._classes.values():
            known.share *= FADE
        return weights, mean_s
