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
    """PostgreSQL cannot be used now. Nothing was acknowledged; ask again after `retry_after_s`.

    `code` tells what kind of trouble it is. `passes` says that waiting helps, as after a failover; what needs
    a person (a full disk, a wrong password) does not pass. `said` are the server's own words, for the log.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 1.0,
        code: str = "storage_unavailable",
        passes: bool = True,
        said: str = "",
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.code = code
        self.passes = passes
        self.said = said


class EngineFailed(SentinelError):
    """The engine broke off while it was answering. What it said is stored; ask again."""


class ForeignPage(SentinelError):
    """A page of another origin asked. Open Sentinel's own."""
