"""A 5xx says why: in the log with what an operator needs, in the answer without our engines' addresses."""

import pytest
from structlog.testing import capture_logs

from app.api.errors import answer_to
from app.core.incidents import Incidents
from fluido import errors
from fluido.llm import _errors as llm

WHERE = "http://me:secret@10.1.2.3:8000"


@pytest.mark.parametrize(
    ("error", "code", "logged", "said"),
    [
        (
            errors.LimitReached("the queue is full: 9 wait before, about 4.0 s"),
            "busy",
            "LimitReached: the queue is full",
            "9 wait",
        ),
        (
            errors.LimitReached("the first token cannot come before the deadline: 2"),
            "busy",
            "before the deadline",
            "deadline",
        ),
        (
            errors.BufferFull("the answer was not read for 10 s"),
            "busy",
            "BufferFull: the answer was not read",
            "not read",
        ),
        (
            llm.EngineBusy(f"{WHERE}: queue exceeded", retry_after_s=7.0),
            "busy",
            "EngineBusy: http://10.1.2.3:8000: queue",
            "more to do",
        ),
        (llm.CacheFull(f"{WHERE}: no available kv"), "busy", "CacheFull: http://10.1.2.3:8000", "more to do"),
        (
            llm.StreamBroken(f"{WHERE} went silent for 9 s"),
            "engine_unavailable",
            "went silent for 9 s",
            "broke off",
        ),
        (
            errors.EngineUnavailable(f"{WHERE} is down: refused"),
            "engine_unavailable",
            "is down: refused",
            "No engine answers",
        ),
        (errors.WaitTimeout("no seat within 3.0 s"), "waited_too_long", "WaitTimeout: no seat", "no seat"),
    ],
)
def test_the_reason_is_in_the_log_and_no_address_in_the_answer(
    error, code, logged, said, monkeypatch
) -> None:
    monkeypatch.setattr("app.api.errors.incidents", Incidents())
    with capture_logs() as lines:
        answer = answer_to(error)
    assert (answer.status, answer.code) == (503, code)
    assert [line["reason"] for line in lines if line["event"] == "server_error"] == [lines[0]["reason"]]
    assert logged in lines[0]["reason"]
    assert "secret" not in str(lines)
    assert said in answer.message
    assert "10.1.2.3" not in answer.message
    if isinstance(error, llm.EngineBusy) and error.retry_after_s:
        assert answer.headers()["Retry-After"] == "7"


def test_a_long_reason_is_cut_and_stays_one_line(monkeypatch) -> None:
    monkeypatch.setattr("app.api.errors.incidents", Incidents())
    with capture_logs() as lines:
        answer_to(errors.EngineUnavailable("odd\n" * 1000))
    assert len(lines[0]["reason"]) < 300
    assert "\n" not in lines[0]["reason"]
