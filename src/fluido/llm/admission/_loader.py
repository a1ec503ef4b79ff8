"""Loading a model, once for everybody and on nobody's behalf.

Ollama ties a load to the request that caused it: when that client leaves, the load is aborted for all who
wait (ollama/ollama#8398). And its scheduler waits without end for the resident model's last call before it
loads another, while new calls to the resident model go past it (#14407): a steady stream and one odd request
hang it for good. So a load is a request of our own in a task of its own, and it begins only when nothing is
in flight.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from fluido.errors import EngineUnavailable, FluidoError

UNPLANNED_LOAD_S = 0.5
FIRST_LOAD_S = 30.0
LEARN_SHARE = 0.3
DWELL_S = 60.0


class Widening:
    """When a model is loaded again with a larger window because callers asked for one. Pure.

    A reload costs everybody seconds and all that was resident, so the window only ever grows, by doubling, up
    to a bound: over the life of an engine there are as many reloads as doublings, whatever callers ask for.
    Wishes that come before the dwell time is over are kept, and the next reload serves the largest of them.
    `dwell_s` lies between two reloads, failed ones too.
    """

    __slots__ = ("_dwell_s", "_tried_s", "_wanted")

    def __init__(self, dwell_s: float = DWELL_S) -> None:
        self._dwell_s = dwell_s
        self._wanted = 0
        self._tried_s: float | None = None

    def due(self, asked_tokens: int, resident_tokens: int, most_tokens: int, now_s: float) -> int | None:
        """The window to load now for who asked for `asked_tokens`, or None: what is loaded has to do."""
        self._wanted = max(self._wanted, min(asked_tokens, most_tokens))
        if asked_tokens <= resident_tokens or self._wanted <= resident_tokens or resident_tokens <= 0:
            return None
        if self._tried_s is not None and now_s - self._tried_s < self._dwell_s:
            return None
        window = resident_tokens
        while window < self._wanted:
            window *= 2
        return min(window, most_tokens)

    def tried(self, now_s: float) -> None:
        """A reload ended, well or not: the dwell time begins."""
        self._tried_s = now_s
        self._wanted = 0


class Loader:
    """Keeps the books on one engine's models. `load` asks the engine, `pause` waits until it is idle.

    `budget_s` bounds a load: afterwards those who wait get EngineUnavailable, and the load is asked for again
    by the next call. `idle_s` is how long an unused model stays loaded.
    """

    def __init__(
        self,
        load: Callable[[str, int | None], Awaitable[None]],
        pause: Callable[[], Awaitable[None]],
        resume: Callable[[], None],
        *,
        budget_s: float = 300.0,
        idle_s: float = math.inf,
        widening: Widening | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._load = load
        self._pause = pause
        self._resume = resume
        self._budget_s = budget_s
        self.idle_s = idle_s
        self._clock = clock
        self._widening = widening or Widening()
        self._used_s: dict[str, float] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()
        self.expected_s = FIRST_LOAD_S
        self.loads = 0
        self.unplanned = 0
        self.grown = 0

    def resident(self, model: str) -> bool:
        """Whether `model` should be loaded now."""
        used_s = self._used_s.get(model)
        return used_s is not None and self._clock() - used_s < self.idle_s

    def forget(self, model: str | None = None) -> None:
        """The engine was restarted: nothing is loaded; or it was seen that `model` is not."""
        if model is None:
            self._used_s.clear()
        else:
            self._used_s.pop(model, None)

    def served(self, model: str, load_s: float) -> None:
        """A call was answered; a load inside it was none of ours."""
        self._used_s[model] = self._clock()
        if load_s > UNPLANNED_LOAD_S:
            self._foreign()

    def displaced(self, model: str) -> None:
        """Another client loaded it so that the next call does not fit: that call waits for a load."""
        self.forget(model)
        self._foreign()

    def _foreign(self) -> None:
        self.unplanned += 1

    async def ready(self, model: str) -> None:
        """Return when `model` is loaded. A caller who leaves does not stop the load.

        Raises EngineUnavailable (with how long a load takes) when the load is over its budget, and what the
        engine says otherwise.
        """
        if not self.resident(model):
            await self._once(model, None)

    async def widen(self, model: str, asked_tokens: int, resident_tokens: int, most_tokens: int) -> None:
        """Load `model` again with a larger window if one is due; who asks waits for it.

        Never raises for a load that failed: the model is then loaded as before by who needs it next.
        """
        window = self._widening.due(asked_tokens, resident_tokens, most_tokens, self._clock())
        if window is None:
            return
        try:
            await self._once(model, window)
        except FluidoError:
            self._used_s.pop(model, None)

    async def _once(self, model: str, window_tokens: int | None) -> None:
        task = self._loading.get(model)
        if task is None:
            task = asyncio.create_task(self._loaded(model, window_tokens), name="fluido-llm-load")
            self._loading[model] = task
            task.add_done_callback(lambda done: self._ended(model, done))
        await asyncio.shield(task)

    def _ended(self, model: str, task: "asyncio.Task[None]") -> None:
        self._loading.pop(model, None)
        if not task.cancelled():
            task.exception()  # those who waited have it; nobody may have

    async def _loaded(self, model: str, window_tokens: int | None) -> None:
        async with self._turn:
            began_s = self._clock()
            try:
                async with asyncio.timeout(self._budget_s):
                    await self._pause()
                    await self._as_asked(model, window_tokens)
            except TimeoutError as error:
                raise EngineUnavailable(
                    f"loading {model or 'the model'} took more than {self._budget_s:.0f} s",
                    retry_after_s=self.expected_s,
                ) from error
            finally:
                if window_tokens is not None:
                    self._widening.tried(self._clock())
                self._resume()
            took_s = self._clock() - began_s
            self.loads += 1
            self.grown += window_tokens is not None
            self.expected_s += LEARN_SHARE * (took_s - self.expected_s)
            self._used_s[model] = self._clock()

    async def _as_asked(self, model: str, window_tokens: int | None) -> None:
        try:
            await self._load(model, window_tokens)
        except FluidoError:
            if window_tokens is not None:
                await self._load(model, None)  # as it was, while nothing runs
            raise

    async def close(self) -> None:
        """Give up what is being loaded. Idempotent."""
        tasks = tuple(self._loading.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
