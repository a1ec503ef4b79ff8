"""What a user may choose about the shared connection."""

import warnings
from dataclasses import dataclass, replace
from typing import Literal

Delivery = Literal["retry", "safe"]


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the commands of one pool share its connection.

    name: of this flow in metrics; without it the pool's `client_name`, else "redis".
    links: connections that ordinary commands share. Two overlap the work of server and client (about +15 %
        at 64 to 256 tasks) and cost as much again with large values on plain asyncio.
    window: most commands in flight on one link; callers above it wait in order.
    window_floor: without effect, and deprecated. A window that followed delivery rate x least round trip
        was measured: 0.69x [0.41, 1.17] as good for callers beside a burst, so it is gone.
    early: from so many commands on, half of what is in flight is written before its tick ends, so that the
        server works on it while the other half is made. A write costs what some ten commands cost.
    max_bytes: most packed bytes a link holds before its transport has taken them; callers above it wait.
    max_waiting: most callers waiting for room. One more raises `MaxConnectionsError`, as a full pool does.
    bulk_bytes: commands larger than this, and those whose replies have been larger, take a connection of
        the pool each, as in redis-py: what they carry delays nobody else.
    delivery: what becomes of a command whose connection is lost, or whose reply is late, after it was sent.
        "retry": it is sent again as often as the user's `Retry` says and may so run more than once, which is
        redis-py's contract. "safe": it is sent again only if it was never written, was refused by the
        server before it ran, only reads, or is named in `idempotent`; else the caller gets the error.
    idempotent: upper-case names of commands that "safe" may also repeat after they were sent.

    `delivery` and `idempotent` belong to a client; the others to the link, and so to the pool: two clients of
    one pool that ask for different links are a ValueError.
    """

    links: int = 1
    window: int = 16_384
    window_floor: int | None = None
    early: int = 32
    max_bytes: int = 4 << 20
    max_waiting: int = 65_536
    bulk_bytes: int = 128 << 10
    delivery: Delivery = "retry"
    idempotent: frozenset[str] = frozenset()
    name: str = ""

    def __post_init__(self) -> None:
        if self.links not in {1, 2}:
            raise ValueError("links must be 1 or 2")
        if self.window < 1:
            raise ValueError("window must be positive")
        if self.window_floor is not None:
            warnings.warn("Sharing(window_floor=) has no effect any more", DeprecationWarning, stacklevel=3)
        if self.early < 1:
            raise ValueError("early must be positive")
        if self.max_bytes < 1 or self.max_waiting < 0:
            raise ValueError("max_bytes must be positive and max_waiting not negative")
        if self.bulk_bytes < 1024:
            raise ValueError("bulk_bytes must be at least 1024")
        if self.delivery not in {"retry", "safe"}:
            raise ValueError('delivery must be "retry" or "safe"')

    @property
    def links_of_pool(self) -> "Sharing":
        """What all clients of a pool have in common."""
        return replace(self, delivery="retry", idempotent=frozenset(), window_floor=None)
