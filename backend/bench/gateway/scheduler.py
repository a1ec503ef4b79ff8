"""Ollama's scheduler in small: one model is loaded at a time, and who asks for another waits for a load.

As in Ollama 0.20 (server/sched.go): a call for the loaded model is served at once, also past those who wait
for another one; these wait in one line, whose first has the loaded model unloaded when nobody uses it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Scheduler:
    """`models` of which one fits, `load_s` to load it. `loads` counts."""

    def __init__(self, models: tuple[str, ...], load_s: float) -> None:
        self.models = models
        self.load_s = load_s
        self.loads = 0
        self._loaded = models[0]
        self._users = 0
        self._is_loading = False
        self._line: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def resident(self) -> tuple[str, ...]:
        """What is loaded."""
        return () if self._is_loading else (self._loaded,)

    @asynccontextmanager
    async def loaded(self, model: str) -> AsyncIterator[None]:
        """While it is in use it stays."""
        model = model.removesuffix(":latest")
        if model != self._loaded or self._is_loading:
            came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append((model, came))
            self._go_on()
            await self._served(came)
        else:
            self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._go_on()

    async def _served(self, came: "asyncio.Future[None]") -> None:
        try:
            await came
        except asyncio.CancelledError:
            if came.done() and not came.cancelled():  # its turn came in the moment in which it left
                self._users -= 1
                self._go_on()
            raise

    def _go_on(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve_line())

    async def _serve_line(self) -> None:
        """In the order in which they came."""
        while self._line:
            model, came = self._line[0]
            if came.cancelled():
                self._line.popleft()
                continue
            if model != self._loaded:
                if self._users:
                    return  # who leaves last comes here again
                self._is_loading = True
                await asyncio.sleep(self.load_s)
                self.loads += 1
                self._loaded, self._is_loading = model, False
            self._line.popleft()
            if not came.cancelled():
                self._users += 1
                came.set_result(None)
