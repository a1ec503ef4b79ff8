"""What can go wrong in Sentinel beyond fluido's own errors, named after what the caller does next."""


class SentinelError(Exception):
    """Base of Sentinel's own failures. The text is one sentence for the caller."""


class NotFound(SentinelError):
    """The conversation does not exist, or is not this user's. Start a new one, or correct the id."""


class StillAnswering(SentinelError):
    """The same request is being answered now. Ask again after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KeyReused(SentinelError):
    """The idempotency key was used for another message. Send a new key."""


class PromptTooLong(SentinelError):
    """The message alone does not fit the model's window. Shorten it."""

    def __init__(self, message: str, *, tokens: int, window: int) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.window = window


class StorageUnavailable(SentinelError):
    """PostgreSQL does not answer. Nothing was acknowledged; ask again after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineFailed(SentinelError):
    """The engine broke off while it was answering. The message is stored; ask again."""
