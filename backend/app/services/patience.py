"""Waiting for a PostgreSQL that is being replaced, within the deadline of the request that needs it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.core.failures import StorageUnavailable

Value = TypeVar("Value")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 0.5
# What is left for the answer itself when the server comes back in the last moment.
ANSWER_S = 0.5


async def patiently(
    attempt: Callable[[bool], Awaitable[Value]],
    until_s: float,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Value:
    """Return what `attempt` returns, again while PostgreSQL's trouble passes and it is not yet `until_s`.

    `attempt` is told whether it is repeated: what it does must then be done once only. Raises its last error.
    """
    pause_s = FIRST_PAUSE_S
    is_again = False
    while True:
        try:
            return await attempt(is_again)
        except StorageUnavailable as error:
            if not error.passes or clock() + pause_s + ANSWER_S > until_s:
                raise
        is_again = True
        # Whoever waits for the same server does not come back in one moment.
        await sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
