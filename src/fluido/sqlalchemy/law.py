"""Which law a pool gets when the user names none."""

import time
from collections.abc import Callable

from fluido.laws.base import Law
from fluido.laws.elasticity import Elasticity
from fluido.laws.fixed import Fixed
from fluido.measure import clip
from fluido.sqlalchemy.limits import Limits

# Two, and not one: alone in the server nobody shows that a second one would add nothing, and group commit has
# a flat step there. In a fleet the others show it.
LEAST, LEAST_IN_FLEET = 2, 1
FAIR = 8.0  # what a replica leans towards that hears nothing of the others
ALONE, SHARED = 0.85, 0.5


def default_law(
    limits: Limits,
    *,
    server: str,
    clock: Callable[[], float],
    wall: Callable[[], float] = time.time,
) -> Law:
    """Elasticity between the bounds; the bound itself where they leave nothing to decide.

    `server` names the database the same way in every replica: replicas probe together, by the wall clock
    and a hash of that name, because one that climbs alone on a shared server sees only its share of what it
    does to it.
    """
    if limits.pinned:
        return Fixed(limits.max)
    fleet = limits.replicas > 1
    floor = min(max(limits.min, LEAST_IN_FLEET if fleet else LEAST), limits.max)
    start = clip(limits.first, floor, limits.max)
    return Elasticity(
        start=start,
        floor=floor,
        ceiling=limits.max,
        target=SHARED if limits.shared else ALONE,
        key=server,
        fleet=fleet,
        wall_offset_s=wall() - clock(),
        fair_limit=clip(FAIR, floor, limits.max),
    )
