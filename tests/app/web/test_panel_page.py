"""The live page in a real browser, fed by the real Sentinel on real servers under real questions."""

import asyncio
import socket
from contextlib import AbstractAsyncContextManager

import httpx
import pytest

import embedded
from tests.app.web import browser
from tests.app.web.ground import sentinel
from tests.app.web.looks import axe, foreign_words, in_sight
from tests.servers.absent import NO_CHROMIUM

BINARY = browser.found()
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.servers,
    pytest.mark.skipif(BINARY is None, reason=NO_CHROMIUM),
]
ASKING = 6


async def ask(url: str) -> None:
    """Keep asking, as a few users do."""

    async def user(client: httpx.AsyncClient, number: int) -> None:
        while True:
            body = {"user_id": f"user-{number}", "message": "one two three", "max_output_tokens": 12}
            await client.post("/chat/stream", json=body)

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await asyncio.gather(*(user(client, number) for number in range(ASKING)))


async def check_words_and_sight(page: browser.Page) -> None:
    """Both languages whole, each word with its meaning, a phone shows what matters most; nothing for axe."""
    assert await foreign_words(page, "es") == []
    assert await axe(page) == []
    await page.see("document.querySelector('#language').click()")
    await page.until("document.querySelector('#state').textContent.startsWith('Live')")
    assert await foreign_words(page, "en") == []
    meanings = "[...document.querySelectorAll('thead th, #tiles dt, #flows .figures dt')]"
    assert await page.see(f"{meanings}.filter((n) => !n.title).length") == 0
    await page.until("document.querySelector('#replica').textContent.length > 8")
    await page.size(390, 844, mobile=True, dark=True)
    assert await page.see("document.documentElement.scrollWidth") == 390
    # what matters most is in the first columns: no finger has to find it
    for column in (2, 3, 4):
        cell = f"#times tbody tr :nth-child({column})"
        await page.see(f"document.querySelector('{cell}').scrollIntoView({{block: 'center'}})")
        assert await in_sight(page, cell)
    assert await axe(page) == []


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

            def served(**values: object) -> AbstractAsyncContextManager[None]:
                return sentinel(ground.database_url, ground.redis_url, ground.engine_url, listener, **values)

            async with served(engine_slots=1):  # who waits is to be seen waiting
                asking = asyncio.create_task(ask(url))
                try:
                    await page.size(1280, 900)
                    await page.open(f"{url}/panel")
                    await page.see("localStorage.setItem('language', 'es')")
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
                    await check_words_and_sight(page)
                    await page.see("document.querySelector('#language').click()")
                    # the curves take the colours of the dark page
                    await page.until("getComputedStyle(document.body).backgroundColor === 'rgb(16, 22, 21)'")
                    assert len(await page.picture()) > 20_000
                finally:
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)
            await page.until("document.querySelector('#state').textContent.startsWith('Sin conexión')")
            assert "Sin conexión" in await page.see("document.querySelector('[role=status]').textContent")
            async with served():
                await page.until("document.querySelector('#state').dataset.state === 'live'", within_s=20)
                await page.see("document.querySelector('#pause').focus(); document.activeElement.click()")
                await page.until("document.querySelector('#state').textContent === 'En pausa'")
            async with served(api_keys="secret"):
                await page.until("!document.querySelector('#door').hidden", within_s=20)
                await page.see("document.querySelector('#key').value = 'secret'")
                await page.see("document.querySelector('#door').requestSubmit()")
                await page.until("document.querySelector('#door').hidden")
                await page.until("document.querySelector('#pause').click() || true")
                await page.until("document.querySelector('#state').dataset.state === 'live'")
            assert page.complaints == []
