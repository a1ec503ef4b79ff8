"""fluido's errors, worded so that code written for SQLAlchemy's pool catches them too."""

from sqlalchemy import exc

from fluido.errors import FluidoError, LimitReached, WaitTimeout


class PoolTimeout(WaitTimeout, exc.TimeoutError):
    """No connection became free in time. Also a `sqlalchemy.exc.TimeoutError`, as the stock pool raises."""


class PoolQueueFull(LimitReached, exc.TimeoutError):
    """So many callers wait for a connection that one more is refused at once."""


class OutcomeUnknown(FluidoError):
    """The connection was lost while the rows were on their way: all are stored, or none. Look, then decide.

    A writer that was given an idempotency key finds out by itself and does not raise this before `retry_s`.
    """

    def __init__(self, message: str, *, rows: int) -> None:
        super().__init__(message)
        self.rows = rows
