"""Refusals by status: the gateway and the library read an engine's reply by one table."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from fluido.errors import EngineUnavailable, FluidoError
from fluido.gateway._failures import failure
from fluido.llm import CallRejected, EngineBusy, ModelMissing, StreamBroken
from fluido.llm._errors import CallFailed
from tests.gateway.conftest import opened
from tests.gateway.scripted import Asked, ScriptedEngine, Wire


def of(status: int, body: bytes = b'{"error":"why"}', **headers: str) -> FluidoError:
    told = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return failure("gpu", "m", status, told, body, path="/api/chat")


@pytest.mark.parametrize("status", [408, 504, 524])
def test_a_proxy_that_gave_up_is_not_an_engine_that_died(status: int) -> None:
    error = of(status, b"<html><title>A timeout occurred</title></html>")
    assert isinstance(error, StreamBroken)
    assert error.told
    assert "read timeout" in str(error)


def test_a_date_says_when_to_come_back() -> None:
    soon = of(503, retry_after=format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert isinstance(soon, EngineBusy)
    assert soon.retry_after_s is not None
    assert 0 < soon.retry_after_s <= 30
    assert isinstance(of(429, retry_after="2.5"), EngineBusy)
    assert of(429, retry_after="2.5").retry_after_s == 2.5
    assert of(429, retry_after="tomorrow").retry_after_s == 1.0


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error":"model \'x\' does not exist"}', ModelMissing),
        (404, b'{"error":"model not found"}', ModelMissing),
        (400, b'{"error":"bad grammar"}', CallRejected),
        (500, b'{"error":"llama runner process has terminated"}', StreamBroken),
        (500, b'{"error":"the template"}', CallFailed),
        (502, b"<html>bad gateway</html>", EngineUnavailable),
    ],
)
def test_whose_fault_it_is(status: int, body: bytes, kind: type) -> None:
    assert type(of(status, body)) is kind


def test_a_403_of_an_engine_that_let_us_in_is_about_the_call() -> None:
    assert isinstance(of(403), CallRejected)
    locked = failure("gpu", "m", 403, {}, b"", path="/v1/x", is_proven=False)
    assert "`key` of this engine" in str(locked)


@pytest.mark.anyio
async def test_a_filter_that_refuses_one_call_takes_the_engine_from_nobody(openai: ScriptedEngine) -> None:
    say = openai.script

    async def script(asked: Asked, wire: Wire) -> None:
        if "forbidden" in asked.body.decode():
            await wire.whole({"error": {"message": "blocked by policy"}}, 403)
        else:
            await say(asked, wire)

    openai.script = script
    async with opened(openai) as door:
        for text, status in (("hi", 200), ("forbidden", 403), ("hi", 200)):
            async with door.v1(text) as reply:
                assert reply.status == status
