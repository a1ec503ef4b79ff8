"""Through Sentinel: an engine killed and started again before the first token costs nobody an error."""

import asyncio
from collections import Counter

import pytest
import sqlalchemy as sa
from aiohttp import web

from tests.cases.service_engine import ScriptedEngine
from tests.servers.sentinel import Running, eventually, running

ROWS = sa.text(
    "SELECT count(*) FILTER (WHERE role = 'user') AS questions,"
    " count(*) FILTER (WHERE role = 'assistant') AS answers FROM messages"
)
pytestmark = [pytest.mark.anyio, pytest.mark.servers]


class Killable:
    """A scripted engine whose process can end, with all its connections, and begin again at its address."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.engine.handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def kill(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()


async def rows(found: Running) -> sa.Row[tuple[int, int]]:
    """How many questions and answers are stored."""
    async with found.db.get_session() as session:
        return (await session.execute(ROWS)).one()


async def test_an_engine_that_is_killed_and_started_again_is_waited_for(postgres_url: str) -> None:
    engine = ScriptedEngine()
    killable = Killable(engine)
    await killable.start()
    async with running(postgres_url, None, killable.url) as found:

        async def person(number: int) -> list[int]:
            statuses = []
            for turn in range(8):
                body = {"user_id": f"u{number}", "message": f"{number} {turn}", "deadline_s": 60}
                path = "/chat/stream" if number % 2 else "/chat"
                answer = await found.client.post(path, json=body, timeout=90)
                whole = answer.status_code == 200 and "event: error" not in answer.text
                statuses.append(200 if whole else answer.status_code)
                await asyncio.sleep(0.05)
            return statuses

        try:
            people = asyncio.gather(*(person(number) for number in range(12)))
            for _ in range(2):
                await asyncio.sleep(0.2)
                engine.go.clear()  # nobody has heard a word when it dies
                await asyncio.sleep(0.1)
                await killable.kill()
                await asyncio.sleep(0.5)
                engine.go.set()
                await killable.start()
            statuses = Counter(status for each in await people for status in each)
            assert statuses == {200: 96}

            await killable.kill()
            body = {"user_id": "hasty", "message": "while it is away", "deadline_s": 0.4}
            # Whoever comes before its death is noticed has passed the door: his question is stored, then
            # taken back beside the answer that he is given.
            first = await found.client.post("/chat", json=body)
            assert first.status_code in {502, 503}

            async def taken_back() -> bool:
                return tuple(await rows(found)) == (96, 96)

            await eventually(taken_back, 20.0)
            refused = await found.client.post("/chat", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_unavailable")
            assert tuple(await rows(found)) == (96, 96)
        finally:
            await killable.kill()
