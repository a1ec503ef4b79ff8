"""Errors in the shape that each API's clients raise from."""

import json

import pytest

from fluido.errors import Closed, EngineUnavailable, FluidoError, LimitReached, WaitTimeout
from fluido.gateway.wire import Api, BadRequest, refusal
from fluido.llm._errors import (
    CallFailed,
    CallRejected,
    EmptyAnswer,
    EngineBusy,
    ModelMissing,
    PromptTooLong,
    StreamBroken,
)


class Forbidden(FluidoError):
    http_status = 403
    code = "no_such_key"


TOO_LONG = PromptTooLong("too long", prompt_tokens=9000, context_tokens=4096)
ERRORS = [
    (BadRequest("n must be a whole number", field="n"), 400, "invalid_request_error", None, "n", False),
    (BadRequest("GET is no method", status=405), 405, "invalid_request_error", None, None, False),
    (BadRequest("too large", status=413), 413, "invalid_request_error", None, None, False),
    (LimitReached("full", waiting=9), 429, "rate_limit_error", "queue_full", None, True),
    (LimitReached("late", predicted_wait_s=7.2), 503, "overloaded_error", "deadline", None, True),
    (WaitTimeout("late"), 503, "overloaded_error", "deadline", None, True),
    (TOO_LONG, 400, "invalid_request_error", "context_length_exceeded", "messages", False),
    (
        ModelMissing("model 'x' not found", model="x"),
        404,
        "not_found_error",
        "model_not_found",
        "model",
        False,
    ),
    (CallFailed("the engine failed", status=500), 500, "api_error", "engine_error", None, False),
    (CallRejected("does not support tools", status=400), 400, "invalid_request_error", None, None, False),
    (CallRejected("odd", status=302), 400, "invalid_request_error", None, None, False),
    (EngineBusy("busy", retry_after_s=3), 503, "overloaded_error", "engine_busy", None, True),
    (EngineUnavailable("down"), 503, "overloaded_error", "engine_unavailable", None, True),
    (StreamBroken("broke off"), 502, "api_error", "stream_broken", None, True),
    (EmptyAnswer("no word", thought_tokens=9), 502, "api_error", "empty_answer", None, False),
    (Closed("closing"), 503, "overloaded_error", "closing", None, True),
    (Forbidden("this key may not"), 403, "permission_error", "no_such_key", None, False),
    (RuntimeError("password=x"), 500, "api_error", "internal_error", None, False),
]


@pytest.mark.parametrize("told", ERRORS, ids=lambda told: repr(told[0]))
def test_both_apis_say_the_same_in_their_own_words(
    told: tuple[Exception, int, str, str | None, str | None, bool],
) -> None:
    error, status, kind, code, param, may_retry = told
    openai, ollama = refusal(Api.OPENAI, error), refusal(Api.OLLAMA, error)
    assert openai.status == ollama.status == status
    said = json.loads(openai.body)["error"]
    assert (said["type"], said["code"], said["param"]) == (kind, code, param)
    assert json.loads(ollama.body) == {"error": said["message"]}
    assert "password" not in said["message"]
    headers = dict(openai.headers)
    assert headers[b"x-should-retry"] == (b"true" if may_retry else b"false")
    assert (b"Retry-After" in headers) is may_retry is (b"Retry-After" in dict(ollama.headers))


def test_the_wait_is_told_in_whole_seconds_and_in_milliseconds() -> None:
    """Hard case 18: an SDK that comes back at once would make three loads of one."""
    headers = dict(refusal(Api.OPENAI, LimitReached("late", predicted_wait_s=7.2, retry_after_s=2.5)).headers)
    assert (headers[b"Retry-After"], headers[b"X-Queue-Wait-Ms"]) == (b"3", b"7200")
    # openai-python does not wait for more than a minute: it would come back after half a second
    headers = dict(refusal(Api.OPENAI, LimitReached("late", predicted_wait_s=300)).headers)
    assert (headers[b"Retry-After"], headers[b"x-should-retry"]) == (b"300", b"false")


def test_a_prompt_that_is_too_long_is_told_with_both_numbers() -> None:
    said = json.loads(refusal(Api.OLLAMA, TOO_LONG).body)["error"]
    assert "9000" in said
    assert "4096" in said
    told = PromptTooLong("9000 tokens do not fit 4096", prompt_tokens=9000, context_tokens=4096)
    assert json.loads(refusal(Api.OLLAMA, told).body)["error"] == str(told)
