"""The bodies that travel over HTTP, with examples that work as they stand."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.core.ports import CUT, Conversation, ConversationSummary, Reply, StoredMessage

UserId = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Kind = Literal["short", "medium", "long", "code"]


class ChatBody(BaseModel):
    """A message to answer."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"user_id": "ana", "message": "What is the capital of Chile? Answer in one sentence."},
                {
                    "user_id": "ana",
                    "message": "Write a Python function that reverses a string.",
                    "kind": "code",
                },
            ]
        },
    )

    user_id: UserId
    message: Annotated[str, Field(min_length=1, description="Text of the user, not blank.")]
    conversation_id: UUID | None = Field(default=None, description="Absent: a new conversation.")
    kind: Kind | None = Field(default=None, description="A hint that wins over detection.")
    max_output_tokens: int | None = Field(default=None, ge=1, le=4096)
    deadline_s: float | None = Field(default=None, gt=0, le=3600, description="Seconds the caller will wait.")


class ChatAnswer(BaseModel):
    """An answer with its timings in milliseconds."""

    answer: str
    conversation_id: UUID
    kind: str
    model: str
    ttft_ms: float
    total_ms: float
    cached: bool
    output_tokens: int
    prompt_tokens: int
    cached_tokens: int
    finish_reason: str
    cut: bool = Field(
        description="The answer was cut at its bound. To read on, ask to continue in the same conversation."
    )
    stages_ms: dict[str, float]

    @classmethod
    def of(cls, reply: Reply) -> "ChatAnswer":
        return cls(
            answer=reply.answer,
            conversation_id=reply.conversation_id,
            kind=reply.kind,
            model=reply.model,
            ttft_ms=round(reply.ttft_ms, 2),
            total_ms=round(reply.total_ms, 2),
            cached=reply.cached,
            output_tokens=reply.output_tokens,
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            finish_reason=reply.finish_reason,
            cut=reply.is_cut,
            stages_ms={name: round(value, 3) for name, value in (reply.stages_ms or {}).items()},
        )


class MessageView(BaseModel):
    """One message of a conversation. An answer that was cut, stopped or broken off says so."""

    id: int
    role: str
    content: str
    created_at: datetime
    finish_reason: str | None
    cut: bool = Field(description="A bound ended this answer before the model did.")

    @classmethod
    def of(cls, message: StoredMessage) -> "MessageView":
        return cls(
            id=message.id,
            role=message.role,
            content=message.content,
            created_at=message.created_at,
            finish_reason=message.finish_reason,
            cut=message.finish_reason in CUT,
        )


class TitleBody(BaseModel):
    """What a conversation is to be called."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00]+$")
    ]


class SummaryView(BaseModel):
    """A conversation in a list."""

    id: UUID
    user_id: str
    title: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, summary: ConversationSummary) -> "SummaryView":
        return cls(
            id=summary.id,
            user_id=summary.user_id,
            title=summary.title,
            created_at=summary.created_at,
            updated_at=summary.updated_at,
        )


class ConversationView(SummaryView):
    """A conversation with its messages, oldest first."""

    messages: list[MessageView]

    @classmethod
    def of_conversation(cls, conversation: Conversation) -> "ConversationView":
        return cls(
            **SummaryView.of(conversation.summary).model_dump(),
            messages=[MessageView.of(message) for message in conversation.messages],
        )


class Failure(BaseModel):
    """Why a request was not answered. `code` is stable; `message` is a sentence for a person."""

    code: str
    message: str
    retry_after_s: float | None = None
    detail: dict[str, object] | None = None


class FailureBody(BaseModel):
    """The envelope of every error."""

    error: Failure
