"""Error replies of both APIs: what failed, in the shape that each API's clients raise from."""

import math
from dataclasses import dataclass

from fluido.errors import Closed, EngineUnavailable, FluidoError, LimitReached, WaitTimeout
from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._routes import Api
from fluido.gateway.wire._spans import encoded
from fluido.llm._errors import (
    CallFailed,
    CallRejected,
    EmptyAnswer,
    EngineBusy,
    ModelMissing,
    PromptTooLong,
    StreamBroken,
)

JSON = (b"Content-Type", b"application/json; charset=utf-8")
# openai-python obeys no Retry-After above this: it would come back after half a second, and again.
LONGEST_RETRY_S = 60
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `headers` lack Content-Length."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """What an error is in words of HTTP."""

    status: int
    text: str
    code: str = ""
    field: str | None = None
    retry_after_s: float | None = None
    may_retry: bool = False
    wait_s: float | None = None


def refusal(api: Api, error: BaseException) -> Reply:
    """The reply to a request that failed with `error`."""
    said = said_of(error)
    headers = [JSON]
    if said.may_retry:
        wait_s = max(1, math.ceil(said.retry_after_s or said.wait_s or 1.0))
        headers.append((b"Retry-After", b"%d" % wait_s))
    if said.wait_s is not None:
        headers.append((b"X-Queue-Wait-Ms", b"%d" % max(0, round(said.wait_s * 1000))))
    if api is Api.OPENAI and said.status >= 400:
        again = said.may_retry and (said.retry_after_s or said.wait_s or 0.0) <= LONGEST_RETRY_S
        headers.append((b"x-should-retry", b"true" if again else b"false"))
    return Reply(said.status, tuple(headers), error_body(api, said))


def error_body(api: Api, said: Said) -> bytes:
    """The JSON of an error."""
    if api is Api.OLLAMA:
        return encoded({"error": said.text})
    kind = _TYPES.get(said.status, "invalid_request_error" if said.status < 500 else "api_error")
    error = {"message": said.text, "type": kind, "param": said.field, "code": said.code or None}
    return encoded({"error": error})


def said_of(error: BaseException) -> Said:
    """What an error of fluido or of the gateway is in words of HTTP.

    Whatever else it is, its text stays inside: it may hold what no caller should read.
    """
    text = str(error)
    if isinstance(error, LimitReached):
        wait_s = error.predicted_wait_s
        return Said(
            429 if wait_s is None else 503,
            text,
            "queue_full" if wait_s is None else "deadline",
            None,
            error.retry_after_s or wait_s,
            True,
            wait_s,
        )
    if isinstance(error, WaitTimeout):
        return Said(503, text, "deadline", may_retry=True)
    if isinstance(error, CallRejected):
        return _rejected(error, text)
    if isinstance(error, EngineUnavailable):
        code = "engine_busy" if isinstance(error, EngineBusy) else "engine_unavailable"
        broken = isinstance(error, StreamBroken)
        return Said(
            502 if broken else 503,
            text,
            "stream_broken" if broken else code,
            retry_after_s=error.retry_after_s,
            may_retry=True,
        )
    if isinstance(error, EmptyAnswer):
        return Said(502, text, "empty_answer")
    if isinstance(error, Closed):
        return Said(503, text or "the gateway is closing: ask again in a moment", "closing", may_retry=True)
    if isinstance(error, FluidoError):
        return _own(error, text)
    return Said(500, "the gateway failed at this request: its log says why", "internal_error")


def _own(error: FluidoError, text: str) -> Said:
    """An error that brings its own status: of keys, quotas, loops."""
    status = getattr(error, "http_status", 500)
    after = getattr(error, "retry_after_s", None)
    return Said(
        status, text, str(getattr(error, "code", "")), None, after, may_retry=status in {408, 429, 502, 503}
    )


def _rejected(error: CallRejected, text: str) -> Said:
    if isinstance(error, BadRequest):
        return Said(error.http_status, text, error.code, error.field)
    if isinstance(error, PromptTooLong):
        return Said(400, _with_numbers(error, text), "context_length_exceeded", error.field)
    if isinstance(error, ModelMissing):
        return Said(404, text, "model_not_found", error.field)
    status = error.status or 400
    if isinstance(error, CallFailed):
        return Said(max(status, 500), text, "engine_error", error.field)
    return Said(status if 400 <= status < 500 else 400, text, field=error.field)


def _with_numbers(error: PromptTooLong, text: str) -> str:
    """Both lengths, where they are known and the text does not name them."""
    prompt, window = error.prompt_tokens, error.context_tokens
    if not prompt or not window or (str(prompt) in text and str(window) in text):
        return text
    return f"{text} (the prompt is {prompt} tokens long, the context window {window})"
