"""Push frames of a shared connection, handled one after the other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from fluido.redis.adapter import Reply

MAX_PUSHES = 1024  # then the connection is not read until the handlers have caught up


class Pushes:
    """Hands frames to an asynchronous handler in the order they came."""

    def __init__(self, handle: Callable[[Reply], Awaitable[None]], transport: asyncio.ReadTransport) -> None:
        self._handle = handle
        self._transport = transport
        self._frames: deque[Reply] = deque()
        self._task: asyncio.Task[None] | None = None

    def take(self, frame: Reply) -> None:
        """Queue one frame."""
        self._frames.append(frame)
        if len(self._frames) == MAX_PUSHES:
            self._transport.pause_reading()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._frames:
                await self._handle(self._frames.popleft())
                if len(self._frames) == MAX_PUSHES - 1 and not self._transport.is_closing():
                    self._transport.resume_reading()
        finally:
            self._task = None
