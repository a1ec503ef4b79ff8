"""A message from arrival to stored answer. No database session is held while tokens flow."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import structlog

from app.core.failures import EngineFailed, NotFound, SentinelError
from app.core.incidents import Incident, incidents
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
    ThoughtDelta,
)
from app.db.conversations import ConversationStore, StoredAnswer
from app.db.ledger import RequestLedger
from app.db.telemetry import Telemetry, counted
from fluido.errors import FluidoError, WaitTimeout
from fluido.llm import CallRejected, Reservation, Timings

from .history import History
from .patience import patiently
from .questions import Asked, Questions
from .refusals import Refusals
from .sentinel_fluido_v2 import SentinelFluidoV2
from .stages import Stages
from .transcript import Transcript, Turn
from .turn import OpenTurn, told_as_ours
from .turns import Turn as Place
from .turns import Turns
from .words import End, cleaned

log = structlog.get_logger(__name__)

# A stream that has to wait for the answer before it, or for PostgreSQL, begins after this long all the
# same: a proxy takes a connection without a byte for a dead one.
ACCEPT_AFTER_S = 5.0
# An answer that was given is worth waiting for its place on a disk, whatever its caller's deadline was.
STORE_S = 20.0
# A partial answer is stored in one round trip, where PostgreSQL answers.
PARTIAL_S = 2.0
MAX_ANSWER_CHARS = 200_000
MAX_ANSWER_S = 900.0


class ConversationService:
    """Answers messages and keeps conversations (the port `Assistant`).

    An answer ends after `max_answer_chars` or `max_answer_s` at the latest. PostgreSQL is waited for until
    the deadline of a request, but not longer than `storage_wait_s`.
    """

    def __init__(
        self,
        sentinel: SentinelFluidoV2,
        store: ConversationStore,
        ledger: RequestLedger,
        history: History,
        *,
        deadline_s: float,
        telemetry: Telemetry | None = None,
        max_answer_chars: int = MAX_ANSWER_CHARS,
        max_answer_s: float = MAX_ANSWER_S,
        storage_wait_s: float = STORE_S,
        accept_after_s: float = ACCEPT_AFTER_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._sentinel = sentinel
        self._store = store
        self._questions = Questions(
            store, ledger, model=lambda: sentinel.model, wait_s=storage_wait_s, clock=clock
        )
        self.history = history
        self._deadline_s = deadline_s
        self._telemetry = telemetry
        self._end = End(max_answer_chars, max_answer_s)
        self._accept_after_s = accept_after_s
        self._clock = clock
        self._turns = Turns(clock)
        self.refusals = Refusals(clock)
        self._closing: set[asyncio.Task[None]] = set()

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Take a place, store the question, stream the answer, store the answer, then say so."""
        stages = Stages(self._clock)
        asked = Asked(
            request,
            self._sentinel.kind_of(request.message, request.kind),
            stages,
            request.conversation_id or uuid4(),
            stages.started_s + (request.deadline_s or self._deadline_s),
        )
        # What cannot be answered in time is refused here, before it costs the database anything.
        try:
            place = self._reserve(asked)
        except (FluidoError, SentinelError):
            if (known := await self._questions.known_answer(asked)) is None:
                raise
            for event in _again(known):
                yield event
            return
        try:
            async with aclosing(self._placed(asked, place)) as events:
                async for event in events:
                    yield event
        finally:
            place.release()

    async def _placed(self, asked: Asked, place: Reservation) -> AsyncGenerator[ChatEvent, None]:
        """Answer what has its place: wait for the turn, store the question, answer."""
        async with self._opened(asked) as opening:
            is_accepted = False
            if self._may_begin_early(asked):
                await asyncio.wait({opening}, timeout=self._accept_after_s)
                if not opening.done():
                    is_accepted = True
                    yield Accepted(asked.conversation_id, asked.kind.value)
            opened = await opening
            if isinstance(opened, Reply):
                for event in _again(opened):
                    if not (is_accepted and isinstance(event, Accepted)):
                        yield event
                return
            if not is_accepted:
                yield Accepted(opened.question.conversation_id, opened.kind.value)
            async with aclosing(self._answer(opened, asked.deadline_s, place)) as events:
                async for event in events:
                    yield event

    @staticmethod
    def _may_begin_early(asked: Asked) -> bool:
        """Whether the conversation is known before the question is stored: a repeated key may have
        another.
        """
        return asked.request.conversation_id is not None or asked.request.idempotency_key is None

    @asynccontextmanager
    async def _opened(self, asked: Asked) -> AsyncGenerator["asyncio.Task[OpenTurn | Reply]", None]:
        """The question on its way into its conversation; what was not answered is abandoned at the end."""
        key = f"{asked.request.owner.mark}\x1f{asked.conversation_id}"
        turn = self._turns.line_up(key)
        opening = asyncio.create_task(self._open_in_turn(asked, turn), name="open-turn")
        try:
            yield opening
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait({opening})
            if not opening.cancelled() and opening.exception() is None:
                opened = opening.result()
                if isinstance(opened, OpenTurn) and not opened.is_settled:
                    self._abandon(opened)
            turn.leave()

    async def _open_in_turn(self, asked: Asked, turn: Place) -> "OpenTurn | Reply":
        """Cache and database have what is left of the request's one deadline, whatever their own bounds."""
        await turn.comes(asked.deadline_s)
        left_s = max(0.0, asked.deadline_s - self._clock())
        try:
            async with asyncio.timeout(left_s) as patience:
                return await self._open(asked)
        except TimeoutError as error:
            if not patience.expired():
                raise
            raise WaitTimeout(
                "The deadline passed while the message was being stored: nothing was answered.",
                waited_s=asked.stages.elapsed_ms() / 1e3,
            ) from error

    def _reserve(self, asked: Asked) -> Reservation:
        request = asked.request
        with told_as_ours():
            try:
                return self._sentinel.reserve(
                    request.message,
                    asked.kind,
                    asked.deadline_s,
                    request.max_output_tokens,
                    request.user_id,
                    tenant=request.tenant,
                )
            except CallRejected as error:
                self.refusals.learn(error)
                raise

    async def conversation(
        self, conversation_id: UUID, owner: Owner, limit: int, before: int | None = None
    ) -> Conversation:
        return await self._store.conversation(conversation_id, owner, limit, before)

    async def conversations(
        self, owner: Owner, limit: int, after: Cursor | None = None, search: str | None = None
    ) -> Sequence[ConversationSummary]:
        return await self._store.of_user(owner, limit, after, search)

    async def rename(self, conversation_id: UUID, owner: Owner, title: str) -> None:
        await self._store.rename(conversation_id, owner, title)

    async def take_back(self, conversation_id: UUID, owner: Owner, message_id: int) -> None:
        if self._closing:  # an answer that was just stopped is part of what is taken back
            await asyncio.wait(set(self._closing), timeout=PARTIAL_S)
        await self._store.take_back(conversation_id, owner, message_id)
        await self.history.forget(conversation_id)

    async def delete(self, conversation_id: UUID, owner: Owner) -> None:
        await self._store.delete(conversation_id, owner)
        await self.history.forget(conversation_id)

    async def drain(self) -> None:
        """Wait until the partial answers of clients that left are stored."""
        while self._closing:
            await asyncio.wait(self._closing)

    async def _open(self, asked: Asked) -> "OpenTurn | Reply":
        """Find what was said before and store the question behind it."""
        request, stages = asked.request, asked.stages
        until_s = self._questions.until_s(asked.deadline_s)
        mark = request.owner.mark
        known: Transcript | None = None
        if request.conversation_id is not None:
            with stages.timed("cache"):
                known = await self.history.known(request.conversation_id, mark)
        with stages.timed("store"):
            try:
                turn = await self._questions.store(asked, known, until_s)
            except NotFound:
                if known is not None:  # it was this user's, so it has been deleted, perhaps elsewhere
                    await self.history.forget(asked.conversation_id)
                raise
        if isinstance(turn, Reply):
            return turn
        try:
            with stages.timed("cache"):
                before = await self.history.proven(turn.question, known, mark)
            if before is None:
                question = turn.question
                with stages.timed("store"):
                    before = await patiently(
                        lambda _: self.history.read(question, mark), until_s, clock=self._clock
                    )
        except BaseException:
            self._abandon(turn)
            raise
        turn.before = before
        return turn

    async def _answer(
        self, turn: OpenTurn, deadline_s: float, place: Reservation
    ) -> AsyncGenerator[ChatEvent, None]:
        request = turn.request
        timings: Timings | None = None
        stream = self._sentinel.stream(
            turn.before.turns,
            request.message,
            kind=turn.kind,
            conversation=str(turn.question.conversation_id),
            key=request.user_id,
            max_output_tokens=request.max_output_tokens,
            deadline_s=deadline_s,
            tenant=request.tenant,
            place=place,
        )
        end = replace(self._end, max_tokens=request.max_output_tokens)
        cut: str | None = None
        with turn.told(self.refusals.learn):
            async with aclosing(stream) as events:
                async for event in events:
                    if isinstance(event, Timings):
                        timings = event
                        continue
                    if thought := cleaned(event.thinking):
                        yield ThoughtDelta(thought)
                    if text := turn.cleaner.feed(event.text)[: end.most_chars - turn.chars]:
                        turn.say(text)
                        yield TextDelta(text)
                        age_s = (turn.stages.elapsed_ms() - turn.ttft_ms) / 1e3
                        cut = end.reason(chars=turn.chars, pieces=len(turn.pieces), age_s=age_s)
                        if cut is not None:
                            break
            if timings is None and cut is None:
                raise EngineFailed("The engine ended without saying how. Ask again.")
        if text := turn.cleaner.end():
            turn.say(text)
            yield TextDelta(text)
        if turn.cleaner.cleaned:
            incidents.note(Incident.ANSWER_CLEANED, characters=turn.cleaner.cleaned)
        if cut is not None:
            turn.reason = cut
            incidents.note(Incident.ANSWER_CUT, reason=cut, characters=turn.chars)
        yield await self._settle(turn, timings)

    async def _settle(self, turn: OpenTurn, timings: Timings | None) -> Reply:
        """Store the answer, then the transcript; only what is stored is said to be done."""
        stages = turn.stages
        answer = turn.partial(self._sentinel.model)
        if timings is not None:
            for name in ("queue", "load", "prefill", "decode"):
                stages.ms[name] = getattr(timings, f"{name}_s") * 1e3
            answer = replace(
                answer,
                model=cleaned(timings.model) or self._sentinel.model,
                finish_reason=cleaned(timings.finish_reason),
                output_tokens=counted(timings.output_tokens),
            )
        self.refusals.learn(None)
        turn.reason = answer.finish_reason
        with stages.timed("store"):
            stored = await self._questions.settle(turn, answer)
        turn.is_settled = True
        with stages.timed("cache"):
            self._remember(turn, stored)
        if self._telemetry is not None and timings is not None:
            await self._telemetry.record(stored.id, timings, stages.ms)
        return Reply(
            answer=answer.content,
            conversation_id=turn.question.conversation_id,
            kind=answer.kind,
            model=answer.model,
            ttft_ms=turn.ttft_ms,
            total_ms=stages.elapsed_ms(),
            cached=timings is not None and timings.replayed,
            output_tokens=answer.output_tokens,
            prompt_tokens=counted(timings.prompt_tokens) if timings is not None else 0,
            cached_tokens=counted(timings.cached_tokens or 0) if timings is not None else 0,
            finish_reason=answer.finish_reason,
            stages_ms=stages.ms,
        )

    def _remember(self, turn: OpenTurn, stored: StoredAnswer) -> None:
        conversation_id = turn.question.conversation_id
        if not stored.is_next:
            # Somebody else's message lies between: what is known here would claim to be whole.
            self.history.overlook(conversation_id)
            return
        said = (Turn("user", turn.request.message), Turn("assistant", turn.text))
        self.history.remember(conversation_id, turn.before.followed_by(stored.id, *said))

    def _abandon(self, turn: OpenTurn) -> None:
        """The client left or the engine failed: keep what was said, give the claim back, hold nobody up."""
        # The question stays stored, or is taken back: what is known from before it is believed no more.
        self.history.overlook(turn.question.conversation_id)
        task = asyncio.ensure_future(self._keep_partial(turn))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _keep_partial(self, turn: OpenTurn) -> None:
        try:
            stored = await self._questions.give_up(turn)
            if stored is not None:
                self._remember(turn, stored)
        except NotFound:
            log.info("conversation deleted while it was answered")
        except SentinelError as error:
            log.warning("partial answer not stored", finish_reason=turn.reason, reason=str(error))


def _again(reply: Reply) -> tuple[ChatEvent, ...]:
    """What a repeated request is told."""
    return Accepted(reply.conversation_id, reply.kind), TextDelta(reply.answer), reply
