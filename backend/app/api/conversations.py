"""Stored conversations: read, list, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from .bodies import ConversationView, FailureBody, SummaryView, UserId

router = APIRouter(
    prefix="/conversations",
    tags=["conversations"],
    responses={status: {"model": FailureBody} for status in (401, 404, 422, 503)},
)

Owner = Annotated[
    UserId | None, Query(description="If given, the conversation must be this user's, otherwise 404.")
]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("", summary="List a user's conversations")
async def list_conversations(
    request: Request, user_id: Annotated[UserId, Query()], limit: Limit = 50
) -> list[SummaryView]:
    """The most recently used first."""
    found = await request.app.state.system.assistant.conversations(user_id, limit)
    return [SummaryView.of(summary) for summary in found]


@router.get("/{conversation_id}", summary="Read a conversation")
async def read_conversation(
    request: Request, conversation_id: UUID, user_id: Owner = None, limit: Limit = 200
) -> ConversationView:
    """The last `limit` messages, oldest first."""
    found = await request.app.state.system.assistant.conversation(conversation_id, user_id, limit)
    return ConversationView.of_conversation(found)


@router.delete("/{conversation_id}", status_code=204, summary="Forget a conversation")
async def delete_conversation(request: Request, conversation_id: UUID, user_id: Owner = None) -> Response:
    """Delete a conversation and its messages from PostgreSQL and the cache."""
    await request.app.state.system.assistant.delete(conversation_id, user_id)
    return Response(status_code=204)
