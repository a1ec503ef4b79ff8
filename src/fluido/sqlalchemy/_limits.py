"""The bounds a pool may move in, chosen by the user and checked once."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import exc

from fluido._measure import clip
from fluido.flow._memory import Place, recalled, store_of
from fluido.laws._base import Law
from fluido.laws._fixed import Fixed
from fluido.laws._fleet import WORTH as WORTH_TOGETHER
from fluido.laws._fleet import Fleet
from fluido.laws._ladder import Ladder
from fluido.laws._rungs import WORTH, Memory

# What SQLAlchemy's pool opens without any argument, pool_size + max_overflow; who changes
# one import gets no less.
STOCK_SIZE = 5 + 10
# What SQLAlchemy means by max_overflow=-1 or pool_size=0: as many as are asked for.
UNBOUNDED = 1_000_000
# What a step of the limit must pay where others use the server too: on a plateau what we gain they lose.
WORTH_SHARED, WORTH_SHARED_TOGETHER = 0.7, 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a pool. Raises ValueError for bounds that contradict each other.

    `min` connections are kept open when the pool is idle, and never fewer than `min` statements run at a
    time if so many are asked for. Never more than `max` connections are open, nor more than `max` callers
    at work. Between the two the law decides; `min == max` turns it off. `start` is where it begins
    (default: SQLAlchemy's own 15, or the bound next to it). A caller is at work while the server has
    something to do for it: who keeps a connection and asks nothing counts against `max` only.

    At most `max_waiting` callers wait for a connection, the next one is refused at once. Up to `start`
    connections are opened as they are asked for, then at most one every `open_every_s`; one that nobody
    needed for `idle_s` is closed; none gets older than `lifetime_s` (shortened by up to 5 %, so that they do
    not all end together; None: no bound). `replicas` is how many processes like this one share the server;
    `shared` says that others use it too, who deserve their part. With `shadow` the law computes and reports,
    and the limit stays at `max`.

    `memory` is where what the law learned outlives a restart: the path of a file, or an object with
    `load(key)` and `save(key, text)`. It is tried first, and kept where it does more than `start`; what
    cannot be read is ignored, with a line in the log. `remembered` is such a limit given by hand. One of
    several replicas remembers nothing.
    """

    min: int = 1
    max: int = 50
    start: float | None = None
    max_waiting: int = 10_000
    open_every_s: float = 0.03
    idle_s: float = 60.0
    lifetime_s: float | None = 3600.0
    replicas: int = 1
    shared: bool = False
    shadow: bool = False
    remembered: float | None = None
    memory: Place | None = None

    def __post_init__(self) -> None:
        """Refuse bounds that contradict each other."""
        if self.min < 0 or self.max < 1:
            raise ValueError(f"a pool needs min >= 0 and max >= 1, not min={self.min}, max={self.max}")
        if self.min > self.max:
            raise ValueError(
                f"min={self.min} is above max={self.max}: a pool cannot keep more than it may open"
            )
        if self.start is not None and not max(self.min, 1) <= self.start <= self.max:
            raise ValueError(f"start={self.start} lies outside of min={self.min} .. max={self.max}")
        if self.remembered is not None and not 1 <= self.remembered < math.inf:
            raise ValueError(f"remembered={self.remembered} is not a finite limit of 1 or more")
        if self.memory is not None:
            store_of(self.memory)  # refuses what is neither a path nor a store
        if self.max_waiting < 0 or self.replicas < 1:
            raise ValueError(
                f"max_waiting={self.max_waiting} needs >= 0, replicas={self.replicas} needs >= 1"
            )
        for name in ("open_every_s", "idle_s", "lifetime_s"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < math.inf:
                raise ValueError(f"{name}={value} is not a finite time")

    @property
    def first(self) -> float:
        """Where the limit begins, and how many connections are opened without a pause."""
        return self.start if self.start is not None else min(max(STOCK_SIZE, self.min), self.max)

    @property
    def pinned(self) -> bool:
        """Whether the bounds leave nothing to decide."""
        return self.min == self.max


def stock_limits(pool_size: int, max_overflow: int) -> Limits:
    """What SQLAlchemy's arguments mean: a fixed size, and no pause between connections that are opened."""
    if pool_size < 0 or max_overflow < -1:
        raise exc.ArgumentError(f"pool_size={pool_size} and max_overflow={max_overflow} must not be negative")
    unbounded = pool_size == 0 or max_overflow == -1
    most = UNBOUNDED if unbounded else pool_size + max_overflow
    return Limits(min=pool_size, max=most, start=most, open_every_s=0.0)


def default_law(
    limits: Limits,
    *,
    server: str,
    name: str = "",
    clock: Callable[[], float],
    wall: Callable[[], float] = time.time,
) -> Law:
    """The ladder between the bounds; the bound itself where they leave nothing to decide.

    One of several replicas steps together with the others, by the wall clock and a hash of `server`, which
    names the database the same way in every replica: one that climbs alone on a shared server sees only its
    share of what it does to it. What was learned is remembered under `name`, where there is one, so that a
    database that moved goes on with it.
    """
    if limits.pinned:
        return Fixed(limits.max)
    floor = float(min(max(limits.min, 1), limits.max))
    start = clip(limits.first, floor, limits.max)
    if limits.replicas > 1:
        worth = WORTH_SHARED_TOGETHER if limits.shared else WORTH_TOGETHER
        return Fleet(
            start=start,
            floor=floor,
            ceiling=limits.max,
            worth=worth,
            key=server,
            wall_offset_s=wall() - clock(),
        )
    return Ladder(
        start=start,
        floor=floor,
        ceiling=limits.max,
        worth=WORTH_SHARED if limits.shared else WORTH,
        key=server,
        remembered=recalled(limits.memory, name or server)
        if limits.remembered is None
        else Memory(limits.remembered, start),
    )
