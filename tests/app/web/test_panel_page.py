"""The live page in a real browser, fed by the real Sentinel on real servers under real questions."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn

import embedded
from app.api import create_app
from app.cache.dynamic_redis import DynamicRedisCache
from app.core.adaptive_buffers import adaptive_buffer_manager
from app.core.settings import Settings
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.services.sentinel_fluido_v2 import SentinelFluidoV2
from app.services.system import SentinelSystem
from tests.app.web import browser

BINARY = browser.found()
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.servers,
    pytest.mark.skipif(
        BINARY is None, reason="THE PANEL WAS NOT LOOKED AT: no Chromium here (install `chromium`)"
    ),
]
ASKING = 6


@asynccontextmanager
async def sentinel(ground: embedded.Stack, listener: socket.socket, **values: str) -> AsyncIterator[None]:
    """Sentinel as `app.main` builds it, on a socket that outlives it: it can come back on its port."""
    settings = Settings(
        database_url=ground.database_url,
        redis_url=ground.redis_url,
        openai_url=ground.engine_url,
        ollama_url=None,
        **values,
    )
    service = SentinelFluidoV2(settings=settings)
    db = DynamicPostgreSQLSession(settings.required_database_url())
    system = SentinelSystem(
        service,
        db,
        DynamicRedisCache(),
        adaptive_buffer_manager,
        redis_url=ground.redis_url,
        settings=settings,
    )
    config = uvicorn.Config(create_app(system, settings), log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener.dup()]))
    try:
        while not server.started:
            assert not serving.done(), "Sentinel did not start"
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await serving


async def ask(url: str) -> None:
    """Keep asking, as a few users do."""

    async def user(client: httpx.AsyncClient, number: int) -> None:
        while True:
            body = {"user_id": f"user-{number}", "message": "one two three", "max_output_tokens": 12}
            await client.post("/chat/stream", json=body)

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await asyncio.gather(*(user(client, number) for number in range(ASKING)))


async def test_the_page_shows_real_traffic_and_survives_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    assert BINARY is not None
    folder = tmp_path_factory.mktemp("ground")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            embedded.stack(data_dir=folder, engine="synthetic") as ground,
            browser.browsing(BINARY) as page,
        ):
            async with sentinel(ground, listener):
                asking = asyncio.create_task(ask(url))
                try:
                    await page.size(1280, 900)
                    await page.open(f"{url}/panel")
                    await page.until("document.querySelectorAll('#flows .card').length >= 5")
                    await page.until(
                        "document.querySelector('#times tbody th')?.textContent === '/chat/stream'"
                    )
                    await page.until("document.querySelectorAll('.slots li.busy').length >= 1")
                    await page.until("document.querySelectorAll('#health li:not(.away)').length === 3")
                    await page.until("document.querySelectorAll('#waiters tbody th').length >= 1")
                    assert await page.see("document.querySelectorAll('#flows canvas').length >= 5")
                    labels = "[...document.querySelectorAll('#flows .chart')].map((n) => n.ariaLabel)"
                    assert all("en vuelo" in label for label in await page.see(labels))
                    await page.see("document.querySelector('#as-table summary').click()")
                    await page.until("document.querySelectorAll('#all tbody tr').length >= 5")
                    await page.size(390, 844, mobile=True, dark=True)
                    assert await page.see("document.documentElement.scrollWidth") == 390
                    # the curves take the colours of the dark page
                    await page.until("getComputedStyle(document.body).backgroundColor === 'rgb(16, 22, 21)'")
                    assert len(await page.picture()) > 20_000
                finally:
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)
            await page.until("document.querySelector('#state').textContent.startsWith('Sin conexión')")
            assert "Sin conexión" in await page.see("document.querySelector('[role=status]').textContent")
            async with sentinel(ground, listener):
                await page.until("document.querySelector('#state').dataset.state === 'live'", within_s=20)
                await page.see("document.querySelector('#pause').focus(); document.activeElement.click()")
                await page.until("document.querySelector('#state').textContent === 'En pausa'")
            async with sentinel(ground, listener, api_keys="secret"):
                await page.until("!document.querySelector('#door').hidden", within_s=20)
                await page.see("document.querySelector('#key').value = 'secret'")
                await page.see("document.querySelector('#door').requestSubmit()")
                await page.until("document.querySelector('#door').hidden")
                await page.until("document.querySelector('#pause').click() || true")
                await page.until("document.querySelector('#state').dataset.state === 'live'")
            assert page.complaints == []
