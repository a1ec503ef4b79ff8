"""Questions and answers on their way into PostgreSQL: stored once, whatever dies, or taken back."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

from app.core.failures import SentinelError
from app.core.incidents import Incident, incidents
from app.core.ports import ChatRequest, Reply
from app.db.conversations import Answer, ConversationStore, StoredAnswer
from app.db.ledger import RequestLedger
from fluido.llm import Kind

from .patience import patiently
from .stages import Stages
from .transcript import Transcript
from .turn import OpenTurn, replayed


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on its way, before its question is stored. `deadline_s` is a time on the service's clock."""

    request: ChatRequest
    kind: Kind
    stages: Stages
    conversation_id: UUID
    deadline_s: float


class Questions:
    """Stores what was asked and answered. PostgreSQL is waited for, at most `wait_s`.

    `model` tells the name of the model that answers now, for answers that do not tell.
    """

    def __init__(
        self,
        store: ConversationStore,
        ledger: RequestLedger,
        *,
        model: Callable[[], str],
        wait_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._model = model
        self._wait_s = wait_s
        self._clock = clock

    def until_s(self, deadline_s: float | None = None) -> float:
        """How long PostgreSQL is waited for from now, on the service's clock."""
        most_s = self._clock() + self._wait_s
        return most_s if deadline_s is None else min(deadline_s, most_s)

    async def known_answer(self, asked: Asked) -> Reply | None:
        """The answer that a repeated request got, which needs no engine; None when there is none."""
        request = asked.request
        if request.idempotency_key is None:
            return None
        with suppress(SentinelError):
            claim = await self._ledger.answered(
                user_id=request.user_id,
                key=request.idempotency_key,
                message=request.message,
                conversation_id=request.conversation_id,
                tenants=request.owner.tenants,
            )
            if claim is not None and claim.answer is not None:
                return replayed(claim.answer, claim.question, asked.stages, self._model())
        return None

    async def store(self, asked: Asked, known: Transcript | None, until_s: float) -> OpenTurn | Reply:
        """Store the question behind what is known; a repeated request gets the reply it had."""
        request, nonce = asked.request, uuid4()
        key = request.idempotency_key
        if key is None:
            question = await patiently(
                lambda is_again: self._store.add_question(
                    user_id=request.user_id,
                    conversation_id=asked.conversation_id,
                    content=request.message,
                    kind=asked.kind.value,
                    is_new=request.conversation_id is None,
                    follows=known.last_id if known is not None else None,
                    tenants=request.owner.tenants,
                    nonce=nonce,
                    is_again=is_again,
                ),
                until_s,
                clock=self._clock,
            )
            return OpenTurn(request, asked.kind, asked.stages, question, Transcript(None, ()))
        claim = await patiently(
            lambda _: self._ledger.claim(
                user_id=request.user_id,
                key=key,
                message=request.message,
                kind=asked.kind.value,
                conversation_id=request.conversation_id,
                fresh_id=asked.conversation_id,
                tenants=request.owner.tenants,
                holder=nonce,
            ),
            until_s,
            clock=self._clock,
        )
        if claim.answer is not None:
            return replayed(claim.answer, claim.question, asked.stages, self._model())
        return OpenTurn(
            request, asked.kind, asked.stages, claim.question, Transcript(None, ()), lease=claim.lease
        )

    async def settle(self, turn: OpenTurn, answer: Answer) -> StoredAnswer:
        """Store an answer, once."""
        lease, until_s = turn.lease, self.until_s()
        if lease is None:
            return await patiently(
                lambda is_again: self._store.add_answer(
                    turn.question, answer, nonce=turn.nonce, is_again=is_again
                ),
                until_s,
                clock=self._clock,
            )
        return await patiently(
            lambda _: self._ledger.settle(lease, turn.question, answer), until_s, clock=self._clock
        )

    async def give_up(self, turn: OpenTurn) -> StoredAnswer | None:
        """Take back a question that was refused; else free its key, or keep what was said of the answer."""
        lease = turn.lease
        if turn.is_refused and await self._store.withdraw(
            turn.question, None if lease is None else lease.holder
        ):
            incidents.note(Incident.QUESTION_WITHDRAWN)
            if lease is not None:
                self._ledger.leases.drop(lease)
        elif lease is not None:
            await self._ledger.release(lease)
        elif turn.pieces:
            return await self._store.add_answer(turn.question, turn.partial(self._model()), nonce=turn.nonce)
        return None
