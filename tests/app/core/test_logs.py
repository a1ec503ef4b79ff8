"""Every line of a request carries its id."""

import io
import json
import sys

import pytest
import structlog
from starlette.types import Message, Receive, Scope, Send

from app.api.bounds import RequestId
from app.core.logs import configure

pytestmark = pytest.mark.anyio


async def test_a_line_written_inside_a_request_carries_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure("INFO")
    try:
        log = structlog.get_logger("test")

        async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
            log.info("inside", rows=3)

        async def nothing(*_: object) -> Message:
            return {}

        scope = {"type": "http", "headers": [(b"x-request-id", b"abc-1")]}
        await RequestId(app)(scope, nothing, nothing)
        log.info("outside")
    finally:
        structlog.reset_defaults()
    inside, outside = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (inside["event"], inside["request_id"], inside["rows"]) == ("inside", "abc-1", 3)
    assert "request_id" not in outside


def test_a_level_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="SENTINEL_LOG_LEVEL must be one of"):
        configure("LOUD")
