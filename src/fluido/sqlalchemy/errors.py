"""fluido's errors, worded so that code written for SQLAlchemy's pool catches them too."""

from sqlalchemy import exc

from fluido.errors import LimitReached, WaitTimeout


class PoolTimeout(WaitTimeout, exc.TimeoutError):
    """No connection became free in time. Also a `sqlalchemy.exc.TimeoutError`, as the stock pool raises."""


class PoolQueueFull(LimitReached, exc.TimeoutError):
    """So many callers wait for a connection that one more is refused at once."""
