"""The two shapes of an answer: one JSON body, or server-sent events as the tokens come.

Both run the assistant's generator inside the response, beside a watch on the connection: when the
client goes away the generator is cancelled at once, also while it waits for its turn or for the
first token, when there is nothing to send that could fail.
"""

import asyncio
import json
from abc import abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.core.drain import Drain
from app.core.incidents import Incident, incidents
from app.core.ports import Accepted, ChatEvent, Reply, TextDelta, ThoughtDelta
from fluido.errors import Closed

from .bodies import ChatAnswer
from .errors import Answer, answer_to
from .pace import Pace

Events = AsyncGenerator[ChatEvent, None]


class ClientTooSlow(Exception):
    """The client has not taken a piece of the answer for longer than we hold one for it."""


class _Generated(Response):
    """A response whose body is made while it is sent."""

    def __init__(self, events: Events, pace: Pace, drain: Drain) -> None:
        self._events = events
        self._pace = pace
        self._drain = drain
        self._is_cut = False
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._answer(scope, receive, send))
        gone = asyncio.ensure_future(_disconnected(receive))

        def cut() -> None:
            self._is_cut = True
            work.cancel()

        try:
            with self._drain.told(cut):
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._pace.client_left()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    def _last_words(self) -> Answer | None:
        """What to say when this answer was cut because the replica leaves; None when it was not."""
        if not self._is_cut:
            return None
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        return answer_to(
            Closed("This replica stopped before the answer was complete. Your message is stored: ask again.")
        )

    @abstractmethod
    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class WholeAnswer(_Generated):
    """The whole answer as one JSON object; an error has its own status."""

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply: Reply | None = None
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    if isinstance(event, Reply):
                        reply = event
            if reply is None:
                msg = "the assistant ended without a reply"
                raise RuntimeError(msg)
        except asyncio.CancelledError:
            if (last := self._last_words()) is None:
                raise
            await last.response()(scope, receive, send)
            return
        except Exception as error:  # noqa: BLE001 - answer_to logs what nobody foresaw
            await answer_to(error).response()(scope, receive, send)
            return
        body = ChatAnswer.of(reply).model_dump_json().encode()
        await Response(body, media_type="application/json")(scope, receive, send)


class EventStream(_Generated):
    """`thinking` and `delta` events, then one `done` or one `error`; a comment while nothing else is said.

    The status is decided by what happens before the first piece: a refusal has its own status and
    no stream. After that an error is an event, because the status has been sent.
    """

    def __init__(self, events: Events, pace: Pace, drain: Drain) -> None:
        super().__init__(events, pace, drain)
        self._is_started = False
        self._writing = asyncio.Lock()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        beating = asyncio.ensure_future(self._beat(send))
        try:
            await self._relay(scope, receive, send)
        except ClientTooSlow:
            # Nobody reads: closing the connection is the only message that can arrive.
            self._pace.client_too_slow()
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._pace.paced(self._events)) as events:
                async for event in events:
                    if isinstance(event, Accepted):
                        await self._start(event, send)
                    else:
                        await self._write(send, _encode(event))
        except ClientTooSlow:
            raise
        except asyncio.CancelledError:
            if (last := self._last_words()) is None:
                raise
            await self._fail(last, scope, receive, send)
        except Exception as error:  # noqa: BLE001 - answer_to logs what nobody foresaw
            await self._fail(answer_to(error), scope, receive, send)
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _fail(self, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_started:
            await answer.response()(scope, receive, send)
            return
        incidents.note(Incident.STREAM_BROKEN, status=answer.status, code=answer.code)
        await self._write(send, _event("error", {**answer.body(), "status": answer.status}))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, event: Accepted, send: Send) -> None:
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store",
            "x-accel-buffering": "no",
            "x-conversation-id": str(event.conversation_id),
            "x-query-kind": event.kind,
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        self._is_started = True
        await self._write(send, b": accepted\n\n")

    async def _beat(self, send: Send) -> None:
        """Say something at least every `heartbeat_s`, so that no proxy takes a wait for a dead stream."""
        while True:
            await asyncio.sleep(self._pace.heartbeat_s)
            if self._is_started and not self._writing.locked():
                await self._write(send, b": waiting\n\n")

    async def _write(self, send: Send, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._pace.slow_client_s), self._writing:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            raise ClientTooSlow from None


def _encode(event: TextDelta | ThoughtDelta | Reply) -> bytes:
    if isinstance(event, TextDelta):
        return _event("delta", {"text": event.text})
    if isinstance(event, ThoughtDelta):
        return _event("thinking", {"text": event.text})
    return _event("done", ChatAnswer.of(event).model_dump(mode="json"))


def _event(name: str, data: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
