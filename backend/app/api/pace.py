"""How an answer travels to its client: as it comes, with a sign of life while nothing comes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from app.core.ports import ChatEvent


class Pace:
    """Bounds of the stream to one client, and counts of how streams ended.

    `heartbeat_s` is the longest silence on a stream; `slow_client_s` is how long one piece may wait
    for a client that does not read.
    """

    def __init__(self, *, heartbeat_s: float = 10.0, slow_client_s: float = 30.0) -> None:
        self.heartbeat_s = heartbeat_s
        self.slow_client_s = slow_client_s
        self.left = 0
        self.too_slow = 0

    def client_left(self) -> None:
        """Count a client that closed its connection before the answer was complete."""
        self.left += 1

    def client_too_slow(self) -> None:
        """Count a stream that was cut because nobody read it."""
        self.too_slow += 1

    async def paced(self, events: AsyncGenerator[ChatEvent, None]) -> AsyncGenerator[ChatEvent | None, None]:
        """Yield what `events` yields, and None after each `heartbeat_s` of silence."""
        following: asyncio.Future[ChatEvent] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(events))
                while not (await asyncio.wait({following}, timeout=self.heartbeat_s))[0]:
                    yield None
                try:
                    event = following.result()
                except StopAsyncIteration:
                    return
                yield event
        finally:
            if following is not None:
                following.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await following
            await events.aclose()
