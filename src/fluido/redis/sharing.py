"""What a user may choose about the shared connection."""

from dataclasses import dataclass
from typing import Literal

Delivery = Literal["retry", "safe"]


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the commands of one pool share its connection.

    links: connections that ordinary commands share. Two overlap the work of server and client (about +15 %
    at
        64 to 256 tasks) and cost as much again with large values on plain asyncio.
    window: most commands in flight on one link; callers above it wait in order.
    window_floor: None: the window stands still. A number: it adapts between this and `window` to what the
        link delivers, so that a burst under one label (`with label("report"):`) waits in our line, where
        labels take turns, and not in front of the server, where everybody waits behind it. A full window
        costs a tick and some microseconds a command: use it where bursts are labelled.
    early: from so many commands on, half of what is in flight is written before its tick ends, so that the
        server works on it while the other half is made. A write costs what some ten commands cost.
    max_bytes: most packed bytes a link holds before its transport has taken them; callers above it wait.
    max_waiting: most callers waiting for room. One more raises `MaxConnectionsError`, as a full pool does.
    delivery: "retry" repeats a failed command as the user's `Retry` says, whether it may have run or not,
    which
        is redis-py's contract. "safe" repeats it only if it was never sent, was refused by the server, only
        reads, or is named in `idempotent`.
    idempotent: upper-case names of commands that "safe" may also repeat after they were sent.
    """

    links: int = 1
    window: int = 16_384
    window_floor: int | None = None
    early: int = 32
    max_bytes: int = 4 << 20
    max_waiting: int = 65_536
    delivery: Delivery = "retry"
    idempotent: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.links not in {1, 2}:
            raise ValueError("links must be 1 or 2")
        if self.window < 1 or not 1 <= (self.window_floor or self.window) <= self.window:
            raise ValueError("window must be positive, window_floor between 1 and window")
        if self.early < 1:
            raise ValueError("early must be positive")
        if self.max_bytes < 1 or self.max_waiting < 0:
            raise ValueError("max_bytes must be positive and max_waiting not negative")
        if self.delivery not in {"retry", "safe"}:
            raise ValueError('delivery must be "retry" or "safe"')
