"""V1's answer to a message: one step after the other, as most services are written."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from uuid import UUID, uuid4

from app.core.failures import EngineFailed, NotFound
from app.core.ports import (
    Accepted,
    ChatEvent,
    ChatRequest,
    Conversation,
    ConversationSummary,
    Cursor,
    Owner,
    Reply,
    TextDelta,
)

from .cache import StaticCache
from .engine import End, Piece, StaticEngine
from .prompt import FRAGMENTS, NUM_PREDICT, Fragment, messages
from .storage import StaticStore

KIND = "medium"
"""V1 does not look at the question: every query is of one kind."""


class StaticAssistant:
    """The port `Assistant`. An idempotency key is accepted and has no effect."""

    def __init__(
        self,
        store: StaticStore,
        cache: StaticCache,
        engine: StaticEngine,
        *,
        deadline_s: float = 60.0,
        exchanges: int = FRAGMENTS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._store = store
        self._cache = cache
        self._engine = engine
        self._deadline_s = deadline_s
        self._exchanges = exchanges
        self._clock = clock

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Store the question, read the last fragments, ask the engine, store the answer."""
        began = self._clock()
        stages: dict[str, float] = {}
        conversation_id = request.conversation_id or uuid4()
        with self._timed(stages, "store"):
            await self._store.add_question(
                request.user_id, conversation_id, request.message, is_new=request.conversation_id is None
            )
        known = await self._fragments(conversation_id, stages) if request.conversation_id else []
        yield Accepted(conversation_id, request.kind or KIND)

        ttft_ms, pieces, end = 0.0, list[str](), None
        bound = min(NUM_PREDICT, request.max_output_tokens or NUM_PREDICT)
        until = began + (request.deadline_s or self._deadline_s)
        async with aclosing(
            self._engine.stream(messages(known, request.message, self._exchanges), bound)
        ) as answer:
            while (item := await self._next(answer, until)) is not None:
                if isinstance(item, End):
                    end = item
                    continue
                ttft_ms = ttft_ms or (self._clock() - began) * 1e3
                pieces.append(item.text)
                yield TextDelta(item.text)
        if end is None:
            raise EngineFailed("The engine ended without saying how.")

        text = "".join(pieces)
        with self._timed(stages, "store"):
            await self._store.add_answer(conversation_id, text)
        with self._timed(stages, "cache"):
            latest = [*known, Fragment(request.message, text)][-self._exchanges :]
            await self._cache.put(conversation_id, latest)
        stages |= {"prefill": end.prefill_ms, "decode": end.decode_ms}
        yield Reply(
            answer=text,
            conversation_id=conversation_id,
            kind=request.kind or KIND,
            model=self._engine.model,
            ttft_ms=ttft_ms,
            total_ms=(self._clock() - began) * 1e3,
            cached=False,
            output_tokens=end.output_tokens,
            prompt_tokens=end.prompt_tokens,
            cached_tokens=end.cached_tokens,
            finish_reason=end.finish_reason,
            stages_ms=stages,
        )

    async def conversation(
        self, conversation_id: UUID, owner: Owner, limit: int, before: int | None = None
    ) -> Conversation:
        del before  # V1 knows no pages
        return await self._store.conversation(conversation_id, owner.user_id, limit)

    async def conversations(
        self, owner: Owner, limit: int, after: Cursor | None = None, search: str | None = None
    ) -> Sequence[ConversationSummary]:
        del search  # V1 knows no search
        return [] if after is not None else await self._store.of_user(owner.user_id, limit)

    async def delete(self, conversation_id: UUID, owner: Owner) -> None:
        await self._store.delete(conversation_id, owner.user_id)
        await self._cache.forget(conversation_id)

    async def rename(self, conversation_id: UUID, owner: Owner, title: str) -> None:
        del conversation_id, owner, title
        raise NotFound("V1 keeps the titles that it made.")

    async def take_back(self, conversation_id: UUID, owner: Owner, message_id: int) -> None:
        del conversation_id, owner, message_id
        raise NotFound("V1 takes nothing back.")

    async def _fragments(self, conversation_id: UUID, stages: dict[str, float]) -> list[Fragment]:
        with self._timed(stages, "cache"):
            known = await self._cache.get(conversation_id)
        if known is None:
            with self._timed(stages, "store"):
                known = await self._store.fragments(conversation_id, self._exchanges)
        return known

    async def _next(self, answer: AsyncGenerator[Piece | End, None], until: float) -> Piece | End | None:
        """The next item, None at the end; `EngineFailed` when it is not there by `until`."""
        try:
            async with asyncio.timeout(max(0.0, until - self._clock())):
                return await anext(answer, None)
        except TimeoutError:
            raise EngineFailed("The engine did not answer in time.") from None

    @contextmanager
    def _timed(self, stages: dict[str, float], name: str) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        finally:
            stages[name] = stages.get(name, 0.0) + (self._clock() - began) * 1e3
