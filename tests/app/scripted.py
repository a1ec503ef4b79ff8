"""An assistant that does what a script says, behind the port that the real ones implement."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from app.core.failures import NotFound
from app.core.ports import (
    Accepted,
    ChatEvent,
    ChatRequest,
    Conversation,
    ConversationSummary,
    Cursor,
    DependencyHealth,
    Owner,
    Reply,
    TextDelta,
)

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

    async def conversation(
        self, conversation_id: UUID, owner: Owner, limit: int, before: int | None = None
    ) -> Conversation:
        if conversation_id != self.conversation_id:
            raise NotFound("There is no such conversation for this user.")
        now = datetime(2026, 11, 22, tzinfo=UTC)
        return Conversation(ConversationSummary(conversation_id, "ana", "Hello", now, now), [])

    async def conversations(
        self, owner: Owner, limit: int, after: Cursor | None = None, search: str | None = None
    ) -> Sequence[ConversationSummary]:
        return []

    async def rename(self, conversation_id: UUID, owner: Owner, title: str) -> None:
        await self.conversation(conversation_id, owner, 1)

    async def take_back(self, conversation_id: UUID, owner: Owner, message_id: int) -> None:
        await self.conversation(conversation_id, owner, 1)

    async def delete(self, conversation_id: UUID, owner: Owner) -> None:
        await self.conversation(conversation_id, owner, 1)
