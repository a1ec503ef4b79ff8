"""What clients see of a replica that leaves."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.api import create_app
from app.core.drain import Drain
from app.core.settings import Settings
from tests.app.core.test_drain import ScriptedSleep, settled, until
from tests.app.scripted import ScriptedSystem
from tests.app.serving import served

pytestmark = pytest.mark.anyio
BODY = {"user_id": "ana", "message": "hi"}


class Leaving:
    """A served system with one answer under way, which ends when `end` is set."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.end = asyncio.Event()
        self.sleep = ScriptedSleep()
        self.drain = Drain(announce_s=1.0, grace_s=5.0, sleep=self.sleep)
        self.system = ScriptedSystem(script=("one", self.hold, "two"))

    async def hold(self) -> None:
        self.reached.set()
        await self.end.wait()


@pytest.fixture
async def leaving() -> AsyncIterator[tuple[Leaving, httpx.AsyncClient]]:
    found = Leaving()
    async with served(create_app(found.system, Settings(), drain=found.drain)) as client:
        yield found, client


async def events(client: httpx.AsyncClient) -> list[str]:
    answer = await client.post("/chat/stream", json=BODY)
    return [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]


async def test_readiness_goes_first_and_work_is_taken_until_the_balancer_knows(
    leaving: tuple[Leaving, httpx.AsyncClient],
) -> None:
    found, client = leaving
    found.end.set()
    going = asyncio.create_task(found.drain.leave())
    await settled()
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "leaving")
    answer = await client.post("/chat", json=BODY)
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    await found.sleep.end()
    refused = await client.post("/chat", json=BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
    assert (refused.headers["connection"], refused.headers["retry-after"]) == ("close", "1")
    assert (await client.get("/health/live")).status_code == 200
    assert await going == 0


async def test_a_stream_ends_in_peace_within_the_grace(leaving: tuple[Leaving, httpx.AsyncClient]) -> None:
    found, client = leaving
    stream = asyncio.create_task(events(client))
    await found.reached.wait()
    going = asyncio.create_task(found.drain.leave())
    await settled()
    await found.sleep.end()
    found.end.set()
    assert await stream == ["delta", "delta", "done"]
    assert await going == 0


async def test_after_the_grace_a_stream_ends_with_an_error_event(
    leaving: tuple[Leaving, httpx.AsyncClient],
) -> None:
    found, client = leaving
    stream = asyncio.create_task(events(client))
    await found.reached.wait()
    whole = asyncio.create_task(client.post("/chat", json=BODY))
    await until(lambda: found.drain.inflight == 2)
    await settled()
    going = asyncio.create_task(found.drain.leave())
    await settled()
    await found.sleep.end()
    await found.sleep.end()
    assert await stream == ["delta", "error"]
    answer = await whole
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
    assert await going == 2
    assert found.system.closed_early.is_set()
    assert found.drain.inflight == 0
