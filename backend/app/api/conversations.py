"""Stored conversations: list, search, read, rename, take messages back, delete."""

import base64
import binascii
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.exceptions import HTTPException

from app.core.ports import ConversationSummary, Cursor

from .bodies import ConversationView, FailureBody, SummaryView, TitleBody, UserId
from .security import caller_of

# Where there may be more, this header holds the `cursor` of the next page.
NEXT = "x-next-cursor"

router = APIRouter(
    prefix="/conversations",
    tags=["conversations"],
    responses={status: {"model": FailureBody} for status in (401, 404, 422, 429, 503)},
)

User = Annotated[
    UserId, Query(description="Whose it is: another user's, or another key's, is not found (404).")
]
Limit = Annotated[int, Query(ge=1, le=500)]
Page = Annotated[
    str | None, Query(max_length=200, description=f"What the page before had in the header `{NEXT}`.")
]


@router.get("", summary="List a user's conversations")
async def list_conversations(  # noqa: PLR0917 - FastAPI passes them by name
    request: Request,
    response: Response,
    user_id: User,
    limit: Limit = 50,
    cursor: Page = None,
    search: Annotated[
        str | None, Query(max_length=200, pattern=r"^[^\x00]*$", description="A text in titles or messages.")
    ] = None,
) -> list[SummaryView]:
    """The most recently used first."""
    after = None if cursor is None else _cursor(cursor)
    owner = caller_of(request).owner(user_id)
    found = await request.app.state.system.assistant.conversations(owner, limit, after, search)
    if len(found) == limit:
        response.headers[NEXT] = _page(found[-1])
    return [SummaryView.of(summary) for summary in found]


@router.get("/{conversation_id}", summary="Read a conversation")
async def read_conversation(  # noqa: PLR0917 - FastAPI passes them by name
    request: Request,
    response: Response,
    conversation_id: UUID,
    user_id: User,
    limit: Limit = 200,
    cursor: Annotated[
        int | None, Query(ge=1, le=2**63 - 1, description=f"As in lists: the header `{NEXT}`.")
    ] = None,
) -> ConversationView:
    """The last `limit` messages, oldest first; with `cursor` those before them."""
    owner = caller_of(request).owner(user_id)
    found = await request.app.state.system.assistant.conversation(conversation_id, owner, limit, cursor)
    if len(found.messages) == limit:
        response.headers[NEXT] = str(found.messages[0].id)
    return ConversationView.of_conversation(found)


@router.delete("/{conversation_id}", status_code=204, summary="Forget a conversation")
async def delete_conversation(request: Request, conversation_id: UUID, user_id: User) -> Response:
    """Delete a conversation and its messages from PostgreSQL and the cache."""
    owner = caller_of(request).owner(user_id)
    await request.app.state.system.assistant.delete(conversation_id, owner)
    return Response(status_code=204)


@router.patch("/{conversation_id}", status_code=204, summary="Rename a conversation")
async def rename_conversation(
    request: Request, conversation_id: UUID, body: TitleBody, user_id: User
) -> Response:
    """Give a conversation another title than the first words of its first question."""
    owner = caller_of(request).owner(user_id)
    await request.app.state.system.assistant.rename(conversation_id, owner, body.title)
    return Response(status_code=204)


@router.delete("/{conversation_id}/messages/{message_id}", status_code=204, summary="Take messages back")
async def take_back(
    request: Request,
    conversation_id: UUID,
    message_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    user_id: User,
) -> Response:
    """Erase a message and all that follow it, to ask again from there."""
    owner = caller_of(request).owner(user_id)
    await request.app.state.system.assistant.take_back(conversation_id, owner, message_id)
    return Response(status_code=204)


def _page(last: ConversationSummary) -> str:
    return base64.urlsafe_b64encode(f"{last.updated_at.isoformat()} {last.id}".encode()).decode().rstrip("=")


def _cursor(given: str) -> Cursor:
    try:
        text = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode()
        at, _, name = text.partition(" ")
        found = Cursor(datetime.fromisoformat(at), UUID(name))
        if found.updated_at.tzinfo is None:
            raise ValueError(at)
    except (ValueError, binascii.Error, OverflowError):
        raise HTTPException(422, f"cursor: send what the header {NEXT} of the page before said.") from None
    return found
