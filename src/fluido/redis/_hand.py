"""Transactions by hand: MULTI, WATCH and what follows them, sent through `execute_command`."""

import asyncio
import weakref
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool

from fluido.redis._routing import canonical
from fluido.redis._standin import Standin, execute_command


class Hands:
    """The connections of one client on which a task has begun a transaction, one a task."""

    def __init__(self) -> None:
        self._of: weakref.WeakKeyDictionary[asyncio.Task[Any], Hand] = weakref.WeakKeyDictionary()

    def __bool__(self) -> bool:
        return bool(self._of)

    def mine(self) -> "Hand | None":
        """Of the running task."""
        task = asyncio.current_task()
        return None if task is None else self._of.get(task)

    async def begin(self, pool: ConnectionPool) -> "Hand":
        """Take a connection for the running task, until its transaction or the task ends."""
        untyped: Any = pool
        hand = Hand(pool, await untyped.get_connection())
        task = asyncio.current_task()
        if task is not None:
            self._of[task] = hand
            task.add_done_callback(lambda _: hand.drop())
        return hand

    def end(self, hand: "Hand") -> None:
        """The transaction is over."""
        for task in [task for task, other in self._of.items() if other is hand]:
            del self._of[task]


class Hand:
    """One connection between MULTI or WATCH and what ends it."""

    def __init__(self, pool: ConnectionPool, connection: AbstractConnection) -> None:
        self.pool = pool
        self.connection: AbstractConnection | None = connection
        self.queues = False

    async def execute(self, hands: Hands, client: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """redis-py's `execute_command` on this connection."""
        connection = self.connection
        name = canonical(args[0])
        over = True  # an error of the connection ends what was begun on it
        try:
            result = await execute_command(Standin(client, connection=connection), args, options)
            self.queues = self.queues or name == "MULTI"
            over = name in {"EXEC", "DISCARD", "RESET"} or (name == "UNWATCH" and not self.queues)
        except Exception:
            over = name == "EXEC" or connection is None or not connection.is_connected
            raise
        finally:
            if over:
                hands.end(self)
                await self.release()
        return result

    async def release(self) -> None:
        """Give the connection back to the pool."""
        connection, self.connection = self.connection, None
        if connection is not None:
            await self.pool.release(connection)

    def drop(self) -> None:
        """The task has ended in the middle: nobody may get a connection that watches or queues."""
        connection, self.connection = self.connection, None
        loop = asyncio.get_running_loop()
        if connection is not None and not loop.is_closed():
            task = loop.create_task(_close(self.pool, connection))
            _CLOSING.add(task)
            task.add_done_callback(_CLOSING.discard)


_CLOSING: set[asyncio.Task[None]] = set()


async def _close(pool: ConnectionPool, connection: AbstractConnection) -> None:
    try:
        await connection.disconnect(nowait=True)
    finally:
        await pool.release(connection)
