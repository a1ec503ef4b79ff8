"""Cancellations that are asked for and do not arrive.

`asyncio.wait_for` of Python 3.11 drops the cancellation of a caller whose own step has just ended
(python/cpython#86296, mended in 3.12), and redis-py sends through it. With the stock client a wait for long
mostly finds a connection that is open; with ours, whose ordinary commands need only one, it is more often
the first to open one, and a worker would go on for ever.
"""

import asyncio
from typing import Any

import redis.asyncio.client


def asked() -> int:
    """How often the running task was asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def heed(before: int) -> None:
    """Raise CancelledError if the running task was asked to end since `before` and has not noticed."""
    if asked() > before:
        raise asyncio.CancelledError


class PubSub(redis.asyncio.client.PubSub):
    """redis-py's, but a cancellation while it connects is never lost."""

    async def connect(self) -> None:
        """As redis-py's."""
        before = asked()
        stock: Any = super()
        await stock.connect()
        heed(before)


def attentive(made: redis.asyncio.client.PubSub) -> redis.asyncio.client.PubSub:
    """What redis-py made, whose arguments differ by version, with a `connect` that loses nothing."""
    if type(made) is redis.asyncio.client.PubSub:
        made.__class__ = PubSub
    return made
