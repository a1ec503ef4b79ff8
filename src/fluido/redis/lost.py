"""What becomes of a command whose link fails."""

import copy


class Lost(Exception):
    """The result of a command whose link failed: set as a value, raised by nobody.

    error: what the caller should see. sent: whether the command may have reached the server.
    """

    def __init__(self, error: Exception, *, sent: bool) -> None:
        super().__init__(error)
        self.error = error
        self.sent = sent


class Elsewhere(Exception):
    """The link belongs to a loop that no longer runs."""


def copy_of(error: BaseException) -> Exception:
    """Another instance of the same error, without its traceback."""
    if not isinstance(error, Exception):
        return RuntimeError(repr(error))  # SystemExit and its like belong to the task that met them
    clone = copy.copy(error).with_traceback(None)
    clone.__cause__ = error.__cause__
    return clone
