"""POST /chat and POST /chat/stream."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core.ports import ChatRequest

from .bodies import ChatAnswer, ChatBody, FailureBody
from .responses import EventStream, WholeAnswer
from .security import caller_of

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="Send the same key again to get the same answer instead of a second one.",
    ),
]
_FAILURES: dict[int | str, dict[str, object]] = {
    status: {"model": FailureBody} for status in (400, 401, 404, 409, 413, 422, 429, 502, 503)
}


def chat_router(max_message_chars: int) -> APIRouter:
    """Return the routes; a message over `max_message_chars` is refused with 422."""
    router = APIRouter(tags=["chat"], responses=_FAILURES)

    def parsed(request: Request, body: ChatBody, key: str | None) -> ChatRequest:
        caller = caller_of(request)
        message = body.message
        if not message.strip():
            raise HTTPException(422, "message: is blank, write something to answer.")
        if "\x00" in message:
            raise HTTPException(422, "message: holds a NUL character, which cannot be stored.")
        if len(message) > max_message_chars:
            raise HTTPException(
                422, f"message: has {len(message)} characters, at most {max_message_chars} are answered."
            )
        return ChatRequest(
            user_id=body.user_id,
            message=message,
            conversation_id=body.conversation_id,
            idempotency_key=key,
            kind=body.kind,
            max_output_tokens=body.max_output_tokens,
            deadline_s=body.deadline_s,
            tenant=caller.tenant,
            is_heir=caller.is_heir,
        )

    @router.post("/chat", response_model=ChatAnswer, summary="Answer a message")
    async def chat(request: Request, body: ChatBody, idempotency_key: IdempotencyKey = None) -> Response:
        """Answer a message, whole. The message is stored before the model sees it."""
        app = request.app.state
        asked = parsed(request, body, idempotency_key)
        return WholeAnswer(app.system.assistant.chat(asked), app.pace, app.drain)

    @router.post(
        "/chat/stream",
        summary="Answer a message as it is generated",
        response_class=Response,
        responses={
            200: {
                "content": {"text/event-stream": {}},
                "description": "`thinking` and `delta` events, then `done` or `error`.",
            }
        },
    )
    async def chat_stream(
        request: Request, body: ChatBody, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Answer with server-sent events: `delta` (`{"text"}`), then one `done` or one `error`.

        What a reasoning model says to itself comes as `thinking` (`{"text"}`) and is not stored.

        The headers `X-Conversation-Id` and `X-Query-Kind` come with the first byte. Closing the
        connection stops the generation.
        """
        app = request.app.state
        asked = parsed(request, body, idempotency_key)
        return EventStream(app.system.assistant.chat(asked), app.pace, app.drain)

    return router
