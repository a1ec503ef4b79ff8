"""One place of a pool: a connection, until when it may live, and who has it now."""

import math
from typing import Any

from sqlalchemy.pool.base import Pool, _ConnectionRecord

from fluido.sqlalchemy.hold import Hold


class Entry(_ConnectionRecord):
    """SQLAlchemy's record of a connection. The checkout lies on it, one attribute away from a statement."""

    __slots__ = ("expires_s", "hold")

    def __init__(self, pool: Pool) -> None:
        self.hold: Hold | None = None
        self.expires_s = math.inf
        super().__init__(pool)


def hold_of(proxied: Any) -> Hold | None:
    """The checkout behind a connection that SQLAlchemy handed out; None for one that is not ours.

    SQLAlchemy's public way there, `record_info`, is three calls; this is asked before every statement.
    """
    entry = getattr(proxied, "_connection_record", None)
    return entry.hold if type(entry) is Entry else None
