"""The error of a request that cannot be understood."""

from fluido.llm._errors import CallRejected


class BadRequest(CallRejected):
    """The request itself is wrong: change `field` and ask again. `status` is the HTTP status of the reply.

    `code` is a word for programs, told where the API has a place for it (`unsupported_parameter`).
    """

    def __init__(self, message: str, *, field: str | None = None, status: int = 400, code: str = "") -> None:
        super().__init__(message, field=field, status=status)
        self.http_status = status
        self.code = code
