"""Reads apart from writes, while the server holds writes up (CLIENT PAUSE WRITE, a planned failover)."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fluido.redis.line import Wish
from fluido.redis.link import Link


class Split:
    """While `stalled` waits for the server to take a write: the link for commands that only read."""

    def __init__(self, stalled: Link, connect: Coroutine[Any, Any, Link]) -> None:
        self.stalled = stalled
        self._opening = stalled.loop.create_task(connect)
        self._opening.add_done_callback(self._opened)
        self._closed = False

    async def link(self, commands: int) -> Link | None:
        """The link, if there is one and it has room; else None."""
        await asyncio.wait([self._opening])
        for link in self.links():
            if link.open and link.has_room(Wish("", commands, 0)):
                return link
        return None

    def links(self) -> list[Link]:
        """The link, when it is open."""
        task = self._opening
        return [] if not task.done() or task.cancelled() or task.exception() else [task.result()]

    def close(self) -> None:
        """The server takes writes again."""
        self._closed = True
        for link in self.links():
            link.retire("reads together")

    def _opened(self, task: asyncio.Task[Link]) -> None:
        if not task.cancelled() and task.exception() is None and self._closed:
            self.close()
