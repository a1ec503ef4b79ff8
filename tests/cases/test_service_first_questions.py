"""R5 of the review of the house: first questions at once, to a service that nobody has opened."""

import asyncio

import pytest
from aiohttp import web

from app.core.settings import Settings
from app.services.sentinel_fluido_v2 import SentinelFluidoV2
from tests.cases.engine_shapes import OllamaShape
from tests.cases.engine_shapes import running as serving

pytestmark = pytest.mark.anyio

WINDOW = 16_384


class SlowToTell(OllamaShape):
    """Its version comes late, so that the second question arrives while the first one opens."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/api/version":
            await asyncio.sleep(0.05)
        return await super().handle(request)


@pytest.mark.parametrize("at_once", [1, 2, 5])
async def test_the_model_that_is_loaded_is_asked_in_its_window(at_once: int) -> None:
    shape = SlowToTell("m:latest")
    shape.loaded = ("m:latest", WINDOW)
    async with serving(shape) as engine:
        service = SentinelFluidoV2(engine.url, "m", settings=Settings(openai_url=None))
        try:
            await asyncio.gather(*(service.responder_simple(f"u{n}", "hola") for n in range(at_once)))
        finally:
            await service.close()
    assert {body["options"].get("num_ctx") for body in engine.bodies} == {WINDOW}
    assert engine.loads == 0
