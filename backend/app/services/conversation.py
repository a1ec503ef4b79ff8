"""A message from arrival to stored answer. No database session is held while tokens flow."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog

from app.core.failures import EngineFailed, NotFound, PromptTooLong, SentinelError
from app.core.ports import (
    Accepted,
    ChatEvent,
    ChatRequest,
    Conversation,
    ConversationSummary,
    Reply,
    TextDelta,
)
from app.db.conversations import Answer, ConversationStore, Question
from app.db.leases import Lease
from app.db.ledger import RequestLedger
from app.db.telemetry import Telemetry
from fluido.errors import WaitTimeout
from fluido.llm import Kind, Timings
from fluido.llm.errors import PromptTooLong as PromptOverWindow
from fluido.llm.errors import StreamBroken

from .history import History, Transcript, Turn
from .sentinel_fluido_v2 import SentinelFluidoV2
from .stages import Stages
from .turns import Turns

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Turn:
    """What is known of one message while it is answered."""

    request: ChatRequest
    kind: Kind
    stages: Stages
    question: Question
    before: Transcript
    pieces: list[str]
    lease: Lease | None = None
    ttft_ms: float = 0.0
    is_settled: bool = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ConversationService:
    """Answers messages and keeps conversations (the port `Assistant`)."""

    def __init__(
        self,
        sentinel: SentinelFluidoV2,
        store: ConversationStore,
        ledger: RequestLedger,
        history: History,
        *,
        deadline_s: float,
        telemetry: Telemetry | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._sentinel = sentinel
        self._store = store
        self._ledger = ledger
        self.history = history
        self._deadline_s = deadline_s
        self._telemetry = telemetry
        self._clock = clock
        self._turns = Turns(clock)
        self._closing: set[asyncio.Task[None]] = set()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Store the question, stream the answer, store the answer, then say so."""
        stages = Stages(self._clock)
        deadline_s = stages.started_s + (request.deadline_s or self._deadline_s)
        kind = self._sentinel.kind_of(request.message, request.kind)
        # What cannot be answered in time is refused here, before it costs the database anything.
        self._check_room(request, kind, deadline_s)
        conversation_id = request.conversation_id or uuid4()
        async with self._turns.hold(conversation_id, deadline_s):
            # The wait for the turn may have used up what there was.
            self._check_room(request, kind, deadline_s)
            opened = await self._open_in_time(request, kind, stages, conversation_id, deadline_s)
            if isinstance(opened, Reply):
                yield Accepted(opened.conversation_id, opened.kind)
                yield TextDelta(opened.answer)
                yield opened
                return
            try:
                async with aclosing(self._answer(opened, deadline_s)) as events:
                    async for event in events:
                        yield event
            finally:
                if not opened.is_settled:
                    self._abandon(opened)

    def _check_room(self, request: ChatRequest, kind: Kind, deadline_s: float) -> None:
        with _told_as_ours():
            self._sentinel.check_room(
                request.message, kind, deadline_s, request.max_output_tokens, request.user_id
            )

    async def conversation(self, conversation_id: UUID, user_id: str | None, limit: int) -> Conversation:
        return await self._store.conversation(conversation_id, user_id, limit)

    async def conversations(self, user_id: str, limit: int) -> Sequence[ConversationSummary]:
        return await self._store.of_user(user_id, limit)

    async def delete(self, conversation_id: UUID, user_id: str | None) -> None:
        await self._store.delete(conversation_id, user_id)
        await self.history.forget(conversation_id)

    async def drain(self) -> None:
        """Wait until the partial answers of clients that left are stored."""
        while self._closing:
            await asyncio.wait(self._closing)

    async def _open_in_time(
        self, request: ChatRequest, kind: Kind, stages: Stages, conversation_id: UUID, deadline_s: float
    ) -> "_Turn | Reply":
        """Cache and database have what is left of the request's one deadline, whatever their own bounds."""
        left_s = max(0.0, deadline_s - self._clock())
        try:
            async with asyncio.timeout(left_s) as patience:
                return await self._open(request, kind, stages, conversation_id)
        except TimeoutError as error:
            if not patience.expired():
                raise
            raise WaitTimeout(
                "The deadline passed while the message was being stored: nothing was answered.",
                waited_s=stages.elapsed_ms() / 1e3,
            ) from error

    async def _open(
        self, request: ChatRequest, kind: Kind, stages: Stages, conversation_id: UUID
    ) -> "_Turn | Reply":
        """Find what was said before and store the question behind it."""
        cached: Transcript | None = None
        if request.conversation_id is not None:
            with stages.timed("cache"):
                cached = await self.history.cached(request.conversation_id, request.user_id)
        with stages.timed("store"):
            question, answered, lease = await self._store_question(request, kind, conversation_id, cached)
            if answered is not None:
                return _replayed(answered, question, stages, self._sentinel.model)
            turn = _Turn(request, kind, stages, question, Transcript(None, ()), [], lease)
            try:
                turn.before = await self.history.before(question, cached, request.user_id)
            except BaseException:
                self._abandon(turn)
                raise
        return turn

    async def _store_question(
        self,
        request: ChatRequest,
        kind: Kind,
        conversation_id: UUID,
        cached: Transcript | None,
    ) -> tuple[Question, Answer | None, Lease | None]:
        if request.idempotency_key is None:
            question = await self._store.add_question(
                user_id=request.user_id,
                conversation_id=conversation_id,
                content=request.message,
                kind=kind.value,
                is_new=request.conversation_id is None,
                follows=cached.last_id if cached is not None else None,
            )
            return question, None, None
        claim = await self._ledger.claim(
            user_id=request.user_id,
            key=request.idempotency_key,
            message=request.message,
            kind=kind.value,
            conversation_id=request.conversation_id,
            fresh_id=conversation_id,
        )
        return claim.question, claim.answer, claim.lease

    async def _answer(self, turn: _Turn, deadline_s: float) -> AsyncGenerator[ChatEvent, None]:
        yield Accepted(turn.question.conversation_id, turn.kind.value)
        timings: Timings | None = None
        stream = self._sentinel.stream(
            turn.before.turns,
            turn.request.message,
            kind=turn.kind,
            conversation=str(turn.question.conversation_id),
            key=turn.request.user_id,
            max_output_tokens=turn.request.max_output_tokens,
            deadline_s=deadline_s,
        )
        with _told_as_ours():
            async with aclosing(stream) as events:
                async for event in events:
                    if isinstance(event, Timings):
                        timings = event
                    elif event.text:
                        turn.ttft_ms = turn.ttft_ms or turn.stages.elapsed_ms()
                        turn.pieces.append(event.text)
                        yield TextDelta(event.text)
        if timings is None:
            raise EngineFailed("The engine ended without saying how. Your message is stored: ask again.")
        yield await self._settle(turn, timings)

    async def _settle(self, turn: _Turn, timings: Timings) -> Reply:
        """Store the answer, then the transcript; only what is stored is said to be done."""
        stages = turn.stages
        for name in ("queue", "load", "prefill", "decode"):
            stages.ms[name] = getattr(timings, f"{name}_s") * 1e3
        answer = Answer(
            content=turn.text,
            kind=turn.kind.value,
            model=timings.model or self._sentinel.model,
            finish_reason=timings.finish_reason,
            ttft_ms=turn.ttft_ms,
            total_ms=stages.elapsed_ms(),
            output_tokens=timings.output_tokens,
        )
        with stages.timed("store"):
            if turn.lease is None:
                answer_id = await self._store.add_answer(turn.question, answer)
            else:
                answer_id = await self._ledger.settle(turn.lease, turn.question, answer)
        turn.is_settled = True
        if self._telemetry is not None:
            await self._telemetry.record(answer_id, timings, stages.ms)
        with stages.timed("cache"):
            await self._remember(turn, answer_id)
        return Reply(
            answer=answer.content,
            conversation_id=turn.question.conversation_id,
            kind=answer.kind,
            model=answer.model,
            ttft_ms=turn.ttft_ms,
            total_ms=stages.elapsed_ms(),
            cached=timings.replayed,
            output_tokens=timings.output_tokens,
            prompt_tokens=timings.prompt_tokens,
            cached_tokens=timings.cached_tokens or 0,
            finish_reason=timings.finish_reason,
            stages_ms=stages.ms,
        )

    async def _remember(self, turn: _Turn, answer_id: int) -> None:
        said = (Turn("user", turn.request.message), Turn("assistant", turn.text))
        await self.history.remember(turn.question.conversation_id, turn.before.followed_by(answer_id, *said))

    def _abandon(self, turn: _Turn) -> None:
        """The client left or the engine failed: keep what was said, give the claim back, hold nobody up."""
        task = asyncio.ensure_future(self._keep_partial(turn))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _keep_partial(self, turn: _Turn) -> None:
        try:
            if turn.lease is not None:
                await self._ledger.release(turn.lease)
            elif turn.pieces:
                answer = Answer(
                    content=turn.text,
                    kind=turn.kind.value,
                    model=self._sentinel.model,
                    finish_reason="cancelled",
                    ttft_ms=turn.ttft_ms,
                    total_ms=turn.stages.elapsed_ms(),
                    output_tokens=len(turn.pieces),
                )
                answer_id = await self._store.add_answer(turn.question, answer)
                await self._remember(turn, answer_id)
        except NotFound:
            log.info("conversation deleted while it was answered")
        except SentinelError as error:
            log.warning("partial answer not stored", reason=str(error))


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """What a client has to be told in Sentinel's own words."""
    try:
        yield
    except PromptOverWindow as error:
        raise PromptTooLong(str(error), tokens=error.prompt_tokens, window=error.context_tokens) from error
    except StreamBroken as error:
        raise EngineFailed(
            "The engine broke off while it was answering. Your message is stored: ask again."
        ) from error


def _replayed(answer: Answer, question: Question, stages: Stages, model: str) -> Reply:
    elapsed = stages.elapsed_ms()
    return Reply(
        answer=answer.content,
        conversation_id=question.conversation_id,
        kind=answer.kind,
        model=answer.model or model,
        ttft_ms=elapsed,
        total_ms=elapsed,
        cached=True,
        output_tokens=answer.output_tokens,
        finish_reason=answer.finish_reason,
        stages_ms=dict(stages.ms),
    )
