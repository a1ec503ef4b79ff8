"""Replies that have come already, read by redis-py's own code."""

from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection

from fluido.redis.adapter import Reply


class Replay:
    """Stands in for the connection while redis-py's own code reads the replies of a run, in order."""

    def __init__(self, connection: AbstractConnection, replies: list[Reply]) -> None:
        self._connection = connection
        self._replies = iter(replies)

    def pack_commands(self, _commands: Iterable[Any]) -> list[bytes]:
        """The run was packed and sent before."""
        return []

    async def send_packed_command(self, _packed: Any) -> None:
        """The run was packed and sent before."""

    async def read_response(self, **_: Any) -> Reply:
        """The next reply; an error is raised as a connection raises it."""
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply from None
        return reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
