"""What can go wrong, named after what the caller does next."""


class FluidoError(Exception):
    """Base of every error that fluido raises on purpose."""


class LimitReached(FluidoError):
    """Refused at once: the queue is full, or the wait cannot fit the deadline. Try later or elsewhere."""

    def __init__(
        self,
        message: str,
        *,
        waiting: int = 0,
        predicted_wait_s: float | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.waiting = waiting
        self.predicted_wait_s = predicted_wait_s
        self.retry_after_s = retry_after_s


class WaitTimeout(FluidoError, TimeoutError):
    """The deadline passed while the caller waited for its turn; nothing was started on its behalf."""

    def __init__(self, message: str, *, waited_s: float = 0.0) -> None:
        super().__init__(message)
        self.waited_s = waited_s


class BufferFull(FluidoError):
    """A bounded buffer cannot take the item now. Slow down, or spill it."""


class EngineUnavailable(FluidoError):
    """A server behind us does not answer. Retry after `retry_after_s`, if it is known."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Closed(FluidoError):
    """The object was closed: build another one."""
