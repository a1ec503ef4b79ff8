"""Case 15 of llm.md, at the doctor: an engine's address with a key and an ending is read and not shown."""

import pytest

from app.doctor.engine import read
from tests.cases.engine_shapes import OllamaShape, running

pytestmark = pytest.mark.anyio


async def test_the_doctor_asks_with_the_key_and_does_not_tell_it() -> None:
    server = OllamaShape("m:latest")
    server.key = "s3cret"
    server.loaded = ("m:latest", 512)
    async with running(server):
        facts = await read(server.url.replace("//", "//:s3cret@") + "/api", 1.0)
    assert (facts.kind, facts.model, facts.resident_tokens) == ("ollama", "m:latest", 512)
    assert "s3cret" not in repr(facts)
