"""The one place that turns an error into an HTTP answer."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from app.core import failures
from app.core.incidents import Incident, incidents
from app.core.secrets import scrubbed
from fluido import errors, llm

from .bodies import Failure

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, stable code and the sentence of one failure."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None
    detail: dict[str, object] | None = None

    def body(self) -> dict[str, object]:
        failure = Failure(
            code=self.code, message=self.message, retry_after_s=self.retry_after_s, detail=self.detail
        )
        return {"error": failure.model_dump(exclude_none=True)}

    def headers(self) -> dict[str, str]:
        if self.retry_after_s is None:
            return {}
        return {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers())


class QuotaExceeded(failures.SentinelError):
    """This key has used its share. Ask again after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


# The first class that fits wins, so a subclass stands before its base.
_TABLE: Sequence[tuple[type[Exception], int, str]] = (
    (failures.NotFound, 404, "not_found"),
    (failures.StillAnswering, 409, "still_answering"),
    (failures.KeyReused, 422, "idempotency_key_reused"),
    (failures.PromptTooLong, 422, "prompt_too_long"),
    (failures.StorageUnavailable, 503, "storage_unavailable"),
    (llm.PromptTooLong, 422, "prompt_too_long"),
    (llm.ModelMissing, 404, "model_missing"),
    (llm.CallRejected, 422, "engine_refused"),
    (llm.EmptyAnswer, 502, "empty_answer"),
    (failures.EngineFailed, 502, "engine_failed"),
    (QuotaExceeded, 429, "quota_exceeded"),
    (failures.ForeignPage, 403, "foreign_page"),
    (errors.LimitReached, 503, "busy"),
    (errors.WaitTimeout, 503, "waited_too_long"),
    (errors.BufferFull, 503, "busy"),
    (llm.EngineBusy, 503, "busy"),
    (errors.EngineUnavailable, 503, "engine_unavailable"),
    (errors.Closed, 503, "shutting_down"),
)


_ENGINE_SENTENCES: Sequence[tuple[type[Exception], str]] = (
    (llm.EngineBusy, "The engine has more to do than it takes. Ask again in a moment."),
    (llm.StreamBroken, "The engine broke off before the answer was whole. Ask again in a moment."),
    (errors.EngineUnavailable, "No engine answers now. Ask again in a moment."),
)
MOST_REASON_CHARS = 200


def answer_to(error: Exception) -> Answer:
    """Return what the client is told about `error`; what nobody foresaw is a 500 without details."""
    for kind, status, code in _TABLE:
        if isinstance(error, kind):
            retry: float | None = getattr(error, "retry_after_s", None)
            if retry is None and status == 503:
                retry = 1.0
            told = error.code if isinstance(error, failures.StorageUnavailable) else code
            if status >= 500:
                incidents.note(Incident.SERVER_ERROR, status=status, code=told, reason=_reason(error))
            return Answer(status, told, _message(error), retry, _detail(error))
    incidents.note(Incident.SERVER_ERROR, status=500, code="internal", error=type(error).__name__)
    log.error("unexpected error", exc_info=error)
    return Answer(500, "internal", "Something broke on our side. The request id finds it in the log.")


def _message(error: Exception) -> str:
    """The sentence for the caller, who is not told where our engines are."""
    for kind, sentence in _ENGINE_SENTENCES:
        if isinstance(error, kind):
            return sentence
    return scrubbed(str(error))


def _reason(error: Exception) -> str:
    """Why, for the operator's log: our own name of the error and its text, which may name an engine."""
    said = " ".join(scrubbed(str(error)).split())[:MOST_REASON_CHARS]
    return f"{type(error).__name__}: {said}"


def _detail(error: Exception) -> dict[str, object] | None:
    names = ("tokens", "window", "waiting", "predicted_wait_s", "waited_s")
    found = {name: getattr(error, name) for name in names if getattr(error, name, None) is not None}
    return found or None


def _sentence(problem: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in problem.get("loc", ()) if part != "body")
    return f"{place}: {problem.get('msg')}" if place else str(problem.get("msg"))


_SEND_JSON = "Send a JSON object with the header content-type: application/json."


async def _on_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    problems = error.errors()
    if any(problem.get("type") == "json_invalid" for problem in problems):
        return Answer(
            400, "bad_json", f"The body is not JSON: {problems[0].get('ctx', {}).get('error', '')}"
        ).response()
    is_json = "json" in request.headers.get("content-type", "").lower()
    if any(
        problem.get("loc") == ("body",) and (problem.get("input") is None or not is_json)
        for problem in problems
    ):
        return Answer(422, "invalid", _SEND_JSON).response()
    return Answer(422, "invalid", "; ".join(_sentence(problem) for problem in problems[:5])).response()


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    codes = {400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed"}
    answer = Answer(error.status_code, codes.get(error.status_code, "http_error"), str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return JSONResponse(answer.body(), status_code=answer.status, headers=headers)


def _methods(request: Request) -> set[str]:
    """Every method that some route takes at this path; the router itself names those of one route."""
    found: set[str] = set()
    for route in _flat(request.app.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return found


def _flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """The routes, those of included routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from _flat(inner.routes)


async def _on_known(_: Request, error: Exception) -> JSONResponse:
    return answer_to(error).response()


def install(app: FastAPI) -> None:
    """Register the map on an application."""
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    for kind in (failures.SentinelError, errors.FluidoError, Exception):
        app.add_exception_handler(kind, _on_known)
