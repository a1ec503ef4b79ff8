"""Which law a pool gets when the user names none."""

import time
from collections.abc import Callable

from fluido.laws.base import Law
from fluido.laws.fixed import Fixed
from fluido.laws.fleet import WORTH as WORTH_TOGETHER
from fluido.laws.fleet import Fleet
from fluido.laws.ladder import WORTH, Ladder
from fluido.laws.rungs import Memory
from fluido.measure import clip
from fluido.sqlalchemy.limits import Limits

# What a step of the limit must pay where others use the server too: on a plateau what we gain they lose.
WORTH_SHARED, WORTH_SHARED_TOGETHER = 0.7, 0.5


def default_law(
    limits: Limits,
    *,
    server: str,
    clock: Callable[[], float],
    wall: Callable[[], float] = time.time,
) -> Law:
    """The ladder between the bounds; the bound itself where they leave nothing to decide.

    One of several replicas steps together with the others, by the wall clock and a hash of `server`, which
    names the database the same way in every replica: one that climbs alone on a shared server sees only its
    share of what it does to it.
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
        remembered=None if limits.remembered is None else Memory(limits.remembered, start),
    )
