# ruff: noqa: E501  (scripts of the browser stand in one line)
"""The gateway's pages: the panel in a real browser while five clients ask, its figures, what it never shows."""

import asyncio
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from tests.app.web import browser
from tests.gateway.conftest import Door, opened
from tests.gateway.scripted import ScriptedEngine, tell
from tests.gateway.test_conversations import MODEL, asked
from tests.servers.absent import NO_CHROMIUM

BINARY = browser.found()
FIVE = ("open-webui", "home-assistant", "continue", "n8n", "openai-package")
pytestmark = pytest.mark.anyio


async def ask(door: Door, client: str) -> None:
    for request in asked(client):
        data = json.dumps(request["body"]).encode() if request["body"] is not None else None
        async with door.session.request(
            request["method"], door.url + request["path"], data=data, headers=request["headers"]
        ) as reply:
            await reply.read()


async def state(door: Door) -> dict[str, Any]:
    async with door.session.get(f"{door.url}/gateway/state") as reply:
        assert reply.status == 200
        said: dict[str, Any] = await reply.json()
        return said


async def test_the_figures_of_five_clients_at_once() -> None:
    engine = ScriptedEngine("ollama", models=(MODEL,))
    async with opened(engine) as door:
        await asyncio.gather(*(ask(door, client) for client in FIVE))
        said = await state(door)
        clients = {row["client"] for row in said["rows"]}
        assert {"Open WebUI", "ollama package", "ollama-js package", "openai package"} <= clients
        told = {(each["client"], each["option"]): each["asked"] for each in said["differing"]}
        assert told["ollama package", "num_ctx"] == 8192  # Home Assistant asks by that package
        assert len(said["last"]) == sum(row["requests"] for row in said["rows"]) == said["requests"]
        lanes = {each["lane"] for each in said["last"] if each["client"] == "Open WebUI"}
        assert "background" in lanes  # the title of a chat
        whole = json.dumps(said)
        for secret in ("Bearer", "unused", "turn on the kitchen light", "Say hello"):
            assert secret not in whole
        async with door.session.get(f"{door.url}/metrics") as reply:
            read = {family.name: family for family in families(await reply.text())}
        counted = sum(sample.value for sample in read["fluido_gateway_requests"].samples)
        assert counted == said["requests"]
        assert [s.value for s in read["fluido_gateway_engine_up"].samples] == [1.0]


async def test_only_reading_is_there() -> None:
    async with opened(ScriptedEngine("ollama")) as door:
        for path in ("/gateway", "/gateway/state", "/metrics", "/gateway/panel.js"):
            async with door.session.post(door.url + path, data=b"{}") as reply:
                assert reply.status == 405
            async with door.session.head(door.url + path) as reply:
                assert reply.status == 200
                assert await reply.read() == b""
            async with door.session.get(door.url + path) as reply:
                assert "default-src 'self'" in reply.headers["content-security-policy"]
        async with door.session.get(f"{door.url}/k/anything/gateway/") as reply:
            assert reply.status == 200  # led to /k/anything/gateway
            assert "Fluido gateway" in await reply.text()


@pytest.mark.servers
@pytest.mark.skipif(BINARY is None, reason=NO_CHROMIUM)
async def test_the_panel_under_five_clients() -> None:
    engine = ScriptedEngine("ollama", models=(MODEL,))
    engine.script = tell("<b>bold</b>")
    assert BINARY is not None
    async with opened(engine, "http://127.0.0.1:9") as door, browser.browsing(BINARY) as page:
        await asyncio.gather(*(ask(door, client) for client in FIVE))
        odd = {"user-agent": "<img/src=x/onerror=window.pwned=1>"}
        async with door.chat(model=MODEL, stream=False, headers=odd) as reply:
            assert reply.status == 200
        await page.open(f"{door.url}/k/anything/gateway")
        await page.until("document.querySelectorAll('#last tbody svg').length > 5")
        assert await page.see("[...document.querySelectorAll('#engines tbody tr')].length") == 2
        assert "nothing listens there" in await page.see("document.querySelector('#engines').innerText")
        rows = await page.see("document.querySelector('#rows').innerText")
        for name in ("Open WebUI", "ollama package", "openai package", "ollama-js package"):
            assert name in rows
        assert "8192" in await page.see("document.querySelector('#differing').innerText")
        assert await page.see("document.querySelectorAll('#rows img').length + (window.pwned || 0)") == 0
        assert "requests in" in await page.see("document.querySelector('#summary').innerText")
        await page.see("document.querySelector('[data-language=es]').click()")
        await page.until("document.querySelector('#summary').innerText.includes('peticiones en')")
        heads = await page.see(
            "[...document.querySelectorAll('h2, th')].map((each) => each.textContent).join('|')"
        )
        for english in ("Engines", "Waiting", "Outcome", "Where the time went"):
            assert english not in heads.split("|")
        # a phone scrolls the tables, not the page
        await page.size(390, 800, mobile=True)
        assert await page.see("document.documentElement.scrollWidth") <= 390
        assert page.complaints == []
