"""A scripted assistant behind the real API, and a real server around it."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.api import create_app
from app.core.failures import NotFound
from app.core.ports import (
    Accepted,
    ChatEvent,
    ChatRequest,
    Conversation,
    ConversationSummary,
    DependencyHealth,
    Reply,
    TextDelta,
)
from app.core.settings import Settings

Step = str | Exception | Callable[[], Awaitable[None]]


class ScriptedSystem:
    """A system whose assistant does what `script` says: a text is a delta, an exception is raised, a
    coroutine function is awaited. It remembers what it was asked and whether it was closed early."""

    def __init__(self, script: Sequence[Step] = ("Hello", " there"), before: Exception | None = None) -> None:
        self.script = script
        self.before = before
        self.requests: list[ChatRequest] = []
        self.closed_early = asyncio.Event()
        self.conversation_id = uuid4()
        self.is_open = False
        self.dependencies = [DependencyHealth("postgresql", True, True, "answers")]

    @property
    def assistant(self) -> "ScriptedSystem":
        return self

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def health(self) -> Sequence[DependencyHealth]:
        return self.dependencies

    def buffers(self) -> Mapping[str, object]:
        return {"llm_inference": {"flows": []}}

    def flows(self) -> Iterable[Any]:
        return ()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        self.requests.append(request)
        if self.before is not None:
            raise self.before
        is_done = False
        try:
            yield Accepted(self.conversation_id, "short")
            said = []
            for step in self.script:
                if isinstance(step, str):
                    said.append(step)
                    yield TextDelta(step)
                elif isinstance(step, Exception):
                    is_done = True
                    raise step
                else:
                    await step()
            is_done = True
            yield Reply("".join(said), self.conversation_id, "short", "scripted", 1.0, 2.0, False, len(said))
        finally:
            if not is_done:
                self.closed_early.set()

    async def conversation(self, conversation_id: UUID, user_id: str | None, limit: int) -> Conversation:
        if conversation_id != self.conversation_id:
            raise NotFound("There is no such conversation for this user.")
        now = datetime(2026, 11, 22, tzinfo=UTC)
        return Conversation(ConversationSummary(conversation_id, "ana", "Hello", now, now), [])

    async def conversations(self, user_id: str, limit: int) -> Sequence[ConversationSummary]:
        return []

    async def delete(self, conversation_id: UUID, user_id: str | None) -> None:
        await self.conversation(conversation_id, user_id, 1)


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve `app` by uvicorn on a free loopback port and yield a client of it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                while not server.started:
                    if serving.done():
                        serving.result()
                    await asyncio.sleep(0.005)
                yield client
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
def settings() -> Settings:
    return Settings(host="127.0.0.1", port=8000)


@pytest.fixture(scope="module")
async def served_system() -> AsyncIterator[tuple[ScriptedSystem, httpx.AsyncClient]]:
    """One server for a whole module: starting and stopping uvicorn costs a quarter of a second."""
    system = ScriptedSystem()
    async with served(create_app(system, Settings())) as client:
        yield system, client


@pytest.fixture
def system(served_system: tuple[ScriptedSystem, httpx.AsyncClient]) -> ScriptedSystem:
    system = served_system[0]
    system.requests.clear()
    system.dependencies = [DependencyHealth("postgresql", True, True, "answers")]
    return system


@pytest.fixture
def client(served_system: tuple[ScriptedSystem, httpx.AsyncClient]) -> httpx.AsyncClient:
    return served_system[1]
