"""What the HTTP layer asks of a backend, so that any arm (V1, V2) is served by the same API code.

Nothing here imports a driver or fluido: `bench.v1` implements these ports as well.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

# How an answer ends that reached a bound instead of its end.
CUT = frozenset({"length", "time", "max_tokens"})


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose conversations a request may see: those of a user of a tenant.

    `tenant` names an API key, or is empty where the service has none. An heir is the only tenant there is: it
    sees the conversations of no tenant too, which were stored before there were keys.
    """

    user_id: str
    tenant: str = ""
    is_heir: bool = False

    @property
    def tenants(self) -> tuple[str, ...]:
        """Every tenant whose rows this owner sees; new ones are the first one's."""
        return (self.tenant, "") if self.is_heir and self.tenant else (self.tenant,)

    @property
    def mark(self) -> str:
        """One text for both parts; neither holds a control character."""
        return f"{self.tenant}\x1f{self.user_id}" if self.tenant else self.user_id


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page of a list of conversations begins: behind this one."""

    updated_at: datetime
    id: UUID


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
    tenant: str = ""
    is_heir: bool = False

    @property
    def owner(self) -> Owner:
        """Whose message it is."""
        return Owner(self.user_id, self.tenant, self.is_heir)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The message has its place and will be answered in this conversation.

    It is stored, unless PostgreSQL or the answer before it keep it waiting.
    """

    conversation_id: UUID
    kind: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class ThoughtDelta:
    """A piece of what a reasoning model says to itself before it answers. It is shown, and not stored."""

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

    @property
    def is_cut(self) -> bool:
        """Whether a bound ended the answer before the model did: the next message may ask to go on."""
        return self.finish_reason in CUT


ChatEvent = Accepted | TextDelta | ThoughtDelta | Reply


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One row of a conversation, oldest first when in a sequence. An answer says how it ended."""

    id: int
    role: str
    content: str
    created_at: datetime
    finish_reason: str | None = None


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
        """Yield one `Accepted`, then `ThoughtDelta`s and `TextDelta`s, then one `Reply`.

        Closing the generator stops the generation upstream. Raises what `app.core.failures` and
        `app.api.errors` name; an answer that fails is an exception, never an empty `Reply`.
        """
        ...

    async def conversation(
        self, conversation_id: UUID, owner: Owner, limit: int, before: int | None = None
    ) -> Conversation:
        """Return a conversation with its last `limit` messages (of those older than the message `before`).

        `NotFound` if it is not this owner's.
        """
        ...

    async def conversations(
        self, owner: Owner, limit: int, after: Cursor | None = None, search: str | None = None
    ) -> Sequence[ConversationSummary]:
        """Return the owner's conversations, the most recently used first, from behind `after`.

        With `search` only those whose title or messages hold that text, in any case of letters.
        """
        ...

    async def rename(self, conversation_id: UUID, owner: Owner, title: str) -> None:
        """Give a conversation a title; `NotFound` if it is not this owner's."""
        ...

    async def take_back(self, conversation_id: UUID, owner: Owner, message_id: int) -> None:
        """Take back a message and all that follow it: what they said is erased and in no later prompt.

        `NotFound` if the conversation is not this owner's or has no such message.
        """
        ...

    async def delete(self, conversation_id: UUID, owner: Owner) -> None:
        """Forget a conversation and its messages; `NotFound` if it is not this owner's."""
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
