"""Static pipelining: commands that come while a round trip is under way share the next one."""

import asyncio
from collections import deque
from typing import Any

import redis.asyncio


class Pipeline:
    """At most `size` commands in a round trip, one round trip at a time. A size of 0: one command each."""

    def __init__(self, client: redis.asyncio.Redis, size: int) -> None:
        self._client = client
        self._size = size
        self._waiting: deque[tuple[tuple[Any, ...], asyncio.Future[Any]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def execute(self, *command: Any) -> Any:
        """The reply; raises what redis-py raises."""
        if not self._size:
            return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, reply))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await reply

    async def close(self) -> None:
        """End the round trip that is under way."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft()[1].cancel()

    async def _run(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
            try:
                pipe = self._client.pipeline(transaction=False)
                for command, _ in batch:
                    pipe.execute_command(*command)
                replies = await pipe.execute(raise_on_error=False)
            except BaseException as error:
                for _, reply in batch:
                    if not reply.done():
                        reply.set_exception(error) if isinstance(error, Exception) else reply.cancel()
                if not isinstance(error, Exception):
                    raise
                continue
            for (_, reply), said in zip(batch, replies, strict=True):
                if reply.done():
                    continue
                reply.set_exception(said) if isinstance(said, Exception) else reply.set_result(said)
