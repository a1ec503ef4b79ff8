"""A gateway in this process, in front of engines that a test scripts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from fluido.gateway._app import Gateway
from fluido.gateway._config import Config, EngineUrl
from tests.gateway.scripted import ScriptedEngine

PATIENCE_S = 30.0


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The product runs on uvloop; `test_server.py` also on asyncio's own loop."""
    return "asyncio", {"use_uvloop": True}


class Door:
    """A gateway and a client of it."""

    def __init__(self, gateway: Gateway, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.session = session
        self.url = f"http://127.0.0.1:{gateway.port}"

    def post(self, path: str, body: dict | bytes, **more: object) -> aiohttp.client._RequestContextManager:
        data = body if isinstance(body, bytes) else json.dumps(body)
        return self.session.post(self.url + path, data=data, **more)

    def chat(
        self, text: str = "hi", *, model: str = "m", **more: object
    ) -> aiohttp.client._RequestContextManager:
        headers = more.pop("headers", None)
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return self.post("/api/chat", body, headers=headers)

    def v1(
        self, text: str = "hi", *, model: str = "m", **more: object
    ) -> aiohttp.client._RequestContextManager:
        headers = more.pop("headers", None)
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return self.post("/v1/chat/completions", body, headers=headers)


@asynccontextmanager
async def opened(*engines: ScriptedEngine | str, **settings: object) -> AsyncIterator[Door]:
    """A gateway in front of `engines`, which are started if they are not."""
    async with AsyncExitStack() as stack:
        urls = []
        for engine in engines:
            if isinstance(engine, str):
                urls.append(EngineUrl.parse(engine))
                continue
            if not engine.port:
                await stack.enter_async_context(engine)
            urls.append(EngineUrl.parse(engine.url, api=engine.api))
        gateway = Gateway(Config(engines=tuple(urls), port=0, **settings))  # type: ignore[arg-type]
        await stack.enter_async_context(gateway)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S))
        )
        yield Door(gateway, session)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in the background."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture
async def ollama() -> AsyncIterator[ScriptedEngine]:
    async with ScriptedEngine("ollama") as engine:
        yield engine


@pytest.fixture
async def openai() -> AsyncIterator[ScriptedEngine]:
    async with ScriptedEngine("openai", models=("m",)) as engine:
        yield engine
