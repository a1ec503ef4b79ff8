"""The live page over HTTP: key, headers, bounds and what happens to a page that leaves."""

import json
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api import create_app
from app.api.traffic import Measured, Traffic
from app.core.drain import Drain, Phase
from app.core.settings import Settings
from tests.app.scripted import ScriptedSystem
from tests.app.serving import served

pytestmark = pytest.mark.anyio


async def first_events(answer: httpx.Response, count: int) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            found.append((name, json.loads(line[6:])))
            if len(found) == count:
                break
    return found


async def test_the_page_brings_everything_along(client: httpx.AsyncClient) -> None:
    page = await client.get("/panel")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    scripts = ["panel.js", "panel_feed.js", "panel_charts.js", "words/panel_es.js", "panel.css"]
    for path in [*scripts, "vendor/uplot/uPlot.iife.min.js", "vendor/uplot/uPlot.min.css"]:
        assert (await client.get(f"/web/{path}")).status_code == 200, path
    for path in scripts:
        assert "https://" not in (await client.get(f"/web/{path}")).text, path
    assert "MIT License" in (await client.get("/web/vendor/uplot/LICENSE")).text


async def test_events_come_and_a_page_that_leaves_is_forgotten(system: ScriptedSystem) -> None:
    app = create_app(system, Settings())
    async with served(app) as client:
        async with client.stream("GET", "/panel/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            (history, _), (frame, shown) = await first_events(answer, 2)
            assert (history, frame) == ("history", "frame")
            assert shown["flows"] == shown["engines"] == shown["waiters"] == []
            assert app.state.feed.viewers == 1
        while app.state.feed.viewers:
            await client.get("/health/live")
        assert not app.state.feed.is_producing


async def test_the_first_token_counts_and_not_the_comment_before_it() -> None:
    now_s = 0.0

    async def streaming(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal now_s
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for at_s, body in ((1.0, b": accepted\n\n"), (5.0, b"event: delta\n\n"), (9.0, b"event: done\n\n")):
            now_s = at_s
            await send({"type": "http.response.body", "body": body, "more_body": True})

    async def nothing(*_: object) -> Message:
        return {"type": "http.request"}

    traffic = Traffic(tuple)
    scope = {"type": "http", "method": "POST"}
    await Measured(streaming, traffic, clock=lambda: now_s)(scope, nothing, nothing)
    times = traffic.recent.read()[0]
    assert (times.first_ms_p50, times.total_ms_p50) == (
        pytest.approx(5000, rel=0.04),
        pytest.approx(9000, rel=0.04),
    )


async def test_the_events_ask_for_a_key_and_the_page_does_not(system: ScriptedSystem) -> None:
    async with served(create_app(system, Settings(api_keys="secret"))) as client:
        assert (await client.get("/panel")).status_code == 200
        assert (await client.get("/panel/events")).status_code == 401
        async with client.stream("GET", "/panel/events", headers={"x-api-key": "secret"}) as answer:
            assert (await first_events(answer, 1))[0][0] == "history"


async def test_one_page_too_many_is_told_to_come_back(system: ScriptedSystem) -> None:
    app = create_app(system, Settings())
    app.state.feed._max_viewers = 1
    async with served(app) as client, client.stream("GET", "/panel/events") as answer:
        await first_events(answer, 1)
        refused = await client.get("/panel/events")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1


async def test_a_replica_that_leaves_sends_its_pages_elsewhere(system: ScriptedSystem) -> None:
    drain = Drain()
    app = create_app(system, Settings(), drain=drain)
    app.state.feed._period_s = 0.01
    async with served(app) as client:
        async with client.stream("GET", "/panel/events") as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            drain.phase = Phase.ANNOUNCED
            names = [line async for line in lines if line.startswith("event: ")]
        assert names[-1] == "event: end"
        assert (await client.get("/panel/events")).status_code == 503
