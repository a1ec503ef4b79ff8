"""One message while it is answered, and what becomes of it when it is not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from app.core.failures import EngineFailed, PromptTooLong
from app.core.ports import ChatRequest, Reply
from app.db.conversations import Answer, Question
from app.db.leases import Lease
from fluido.errors import EngineUnavailable, FluidoError
from fluido.llm import Kind, StreamBroken
from fluido.llm import PromptTooLong as PromptOverWindow

from .stages import Stages
from .transcript import Transcript
from .words import Cleaner


@dataclass(slots=True)
class OpenTurn:
    """What is known of one message while it is answered. `reason` is why it ended before the engine did."""

    request: ChatRequest
    kind: Kind
    stages: Stages
    question: Question
    before: Transcript
    lease: Lease | None = None
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    cleaner: Cleaner = field(default_factory=Cleaner)
    nonce: UUID = field(default_factory=uuid4)
    ttft_ms: float = 0.0
    is_settled: bool = False
    is_refused: bool = False
    reason: str = "cancelled"

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self.pieces)

    def say(self, text: str) -> None:
        """Keep a piece of the answer."""
        self.ttft_ms = self.ttft_ms or self.stages.elapsed_ms()
        self.pieces.append(text)
        self.chars += len(text)

    def partial(self, model: str) -> Answer:
        """What was said, as an answer that did not reach its end."""
        return Answer(
            content=self.text,
            kind=self.kind.value,
            model=model,
            finish_reason=self.reason,
            ttft_ms=self.ttft_ms,
            total_ms=self.stages.elapsed_ms(),
            output_tokens=len(self.pieces),
        )

    @contextmanager
    def told(self, learn: Callable[[BaseException], None]) -> Iterator[None]:
        """Note what the failure says of the question: refused before a word, it is not kept."""
        try:
            with told_as_ours(is_begun=bool(self.pieces)):
                yield
        except FluidoError as error:
            learn(error)
            self.is_refused = not self.pieces
            self.reason = "failed"
            raise
        except (EngineFailed, PromptTooLong):
            self.is_refused = not self.pieces
            self.reason = "failed"
            raise


@contextmanager
def told_as_ours(*, is_begun: bool = False) -> Iterator[None]:
    """What a client has to be told in Sentinel's own words: no address of an engine, no words of its log."""
    try:
        yield
    except PromptOverWindow as error:
        raise PromptTooLong(
            _too_long(error), tokens=error.prompt_tokens, window=error.context_tokens
        ) from error
    except StreamBroken as error:
        kept = " What it said is stored." if is_begun else ""
        raise EngineFailed(f"The engine broke off while it was answering.{kept} Ask again.") from error
    except EngineUnavailable as error:
        raise EngineUnavailable(
            "No engine answers now. Ask again in a moment.", retry_after_s=error.retry_after_s
        ) from error


def _too_long(error: PromptOverWindow) -> str:
    if not error.context_tokens:
        return "The message does not fit the model's window: shorten it."
    if not error.prompt_tokens:
        return f"The message does not fit the model's window of {error.context_tokens} tokens: shorten it."
    return (
        f"The message has about {error.prompt_tokens} tokens and the model's window {error.context_tokens}: "
        "shorten it."
    )


def replayed(answer: Answer, question: Question, stages: Stages, model: str) -> Reply:
    """The reply to a repeated request: what was answered the first time."""
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
