"""What happened on the shared connections of one pool."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from fluido._metrics import Meter


@dataclass(frozen=True, slots=True)
class Counts:
    """Everything since the client was built. `batches` maps the upper bound of a size class (1, 2, 4, ...)
    to the number of writes of that class; `events` maps what happened to a link, with its reason, to how
    often.
    """

    shared: int = 0
    ordinary: int = 0
    blocking: int = 0
    bulk: int = 0
    moved: int = 0
    retried: int = 0
    opened: int = 0
    fallback: str | None = None
    batches: Mapping[int, int] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)


class Tally:
    """The counters behind `Counts`; `meter` has those that every flow has."""

    __slots__ = (
        "batches",
        "blocking",
        "bulk",
        "events",
        "meter",
        "moved",
        "opened",
        "ordinary",
        "retried",
    )

    def __init__(self) -> None:
        self.meter = Meter("redis", "redis")
        self.batches = [0] * 32  # by bit length of size - 1
        self.events: Counter[str] = Counter()
        self.blocking = 0
        self.bulk = 0
        self.moved = 0
        self.opened = 0
        self.ordinary = 0
        self.retried = 0

    def frozen(self, fallback: str | None) -> Counts:
        """The counters at this moment."""
        return Counts(
            shared=self.meter.admitted,
            ordinary=self.ordinary,
            blocking=self.blocking,
            bulk=self.bulk,
            moved=self.moved,
            retried=self.retried,
            opened=self.opened,
            fallback=fallback,
            batches={1 << bits: count for bits, count in enumerate(self.batches) if count},
            events=dict(self.events),
        )
