"""One place of a pool: a connection, until when it may live, and who has it now."""

import math
from typing import TYPE_CHECKING, Any

from sqlalchemy.pool.base import _ConnectionRecord

from fluido.sqlalchemy.hold import Hold

if TYPE_CHECKING:
    from fluido.sqlalchemy.pool import AdaptivePool


class Entry(_ConnectionRecord):
    """SQLAlchemy's record of a connection. The checkout lies on it, one attribute away from a statement.

    `hold` is `spare_hold` while somebody has the connection, and None while nobody has.
    """

    __slots__ = ("expires_s", "generation", "hold", "spare_hold")

    def __init__(self, pool: "AdaptivePool") -> None:
        self.spare_hold = Hold(pool.limiter, pool.gate)
        self.hold: Hold | None = None
        self.expires_s = math.inf
        self.generation = 0
        super().__init__(pool)


def hold_of(proxied: Any) -> Hold | None:
    """The checkout behind a connection that SQLAlchemy handed out; None for one that is not ours.

    SQLAlchemy's public way there, `record_info`, is three calls; this is asked before every statement.
    """
    entry = getattr(proxied, "_connection_record", None)
    return entry.hold if type(entry) is Entry else None
