"""What the HTTP layer asks of a backend, so that any arm (V1, V2) is served by the same API code.

Nothing here imports a driver or fluido: `bench.v1` implements these ports as well.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One message of a user, already parsed and bounded.

    `deadline_s` is the patience of the caller in seconds from now. `max_output_tokens` bounds the
    answer below what the policy would allow; `kind` is an explicit hint that wins over detection.
    """

    user_id: str
    message: str
    conversation_id: UUID | None = None
    idempotency_key: str | None = None
    kind: str | None = None
    max_output_tokens: int | None = None
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The message is stored and will be answered in this conversation."""

    conversation_id: UUID
    kind: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of an answer. Times are in milliseconds; `ttft_ms` counts from the request's arrival.

    `stages_ms` says where the time went (for example `history`, `store`, `queue`, `prefill`,
    `decode`); stages may overlap, so they need not add up to `total_ms`.
    """

    answer: str
    conversation_id: UUID
    kind: str
    model: str
    ttft_ms: float
    total_ms: float
    cached: bool
    output_tokens: int
    prompt_tokens: int = 0
    cached_tokens: int = 0
    finish_reason: str = "stop"
    stages_ms: Mapping[str, float] | None = None


ChatEvent = Accepted | TextDelta | Reply


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One row of a conversation, oldest first when in a sequence."""

    id: int
    role: str
    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A conversation without its messages."""

    id: UUID
    user_id: str
    title: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation with its most recent messages, oldest first."""

    summary: ConversationSummary
    messages: Sequence[StoredMessage]


@dataclass(frozen=True, slots=True)
class DependencyHealth:
    """Whether one dependency can be used now, and the reason in words."""

    name: str
    ready: bool
    required: bool
    detail: str


@dataclass(frozen=True, slots=True)
class HistoryFigures:
    """Where histories were found and where they had been overtaken, counted by tier since the start.

    `kept` histories of `kept_bytes` together are at hand in this process. `writes` says what became of
    those on their way to the cache, which nobody waits for and which took `write_s` seconds so far.
    """

    found: Mapping[str, int]
    overtaken: Mapping[str, int]
    kept: int
    kept_bytes: int
    writes: Mapping[str, int]
    write_s: float


class Assistant(Protocol):
    """Answers messages and keeps conversations."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        """Yield one `Accepted`, then `TextDelta`s, then one `Reply`.

        Closing the generator stops the generation upstream. Raises what `app.core.failures` and
        `app.api.errors` name; an answer that fails is an exception, never an empty `Reply`.
        """
        ...

    async def conversation(self, conversation_id: UUID, user_id: str | None, limit: int) -> Conversation:
        """Return a conversation with its last `limit` messages; `NotFound` if it is not this user's."""
        ...

    async def conversations(self, user_id: str, limit: int) -> Sequence[ConversationSummary]:
        """Return the user's conversations, the most recently used first."""
        ...

    async def delete(self, conversation_id: UUID, user_id: str | None) -> None:
        """Forget a conversation and its messages; `NotFound` if it is not this user's."""
        ...


class System(Protocol):
    """One arm: an assistant with its resources. Inert until `open`."""

    @property
    def assistant(self) -> Assistant: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def health(self) -> Sequence[DependencyHealth]: ...

    def buffers(self) -> Mapping[str, object]:
        """Live values, bounds and last reasons of every buffer, ready for JSON."""
        ...

    def flows(self) -> Iterable[Any]:
        """Every live flow of the arm (each has `stats()`), for the metrics; none is a fair answer."""
        ...
