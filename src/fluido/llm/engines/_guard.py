"""Error boundary around an engine adapter: whatever it raises becomes an error that fluido acts on, and a log
line.

An adapter may be anybody's, and ours reads what strangers send. A question that it stumbles over is one that
the engine did not answer: it is asked again. Nothing of it is swallowed without a line, and no fault that
comes every second fills a log.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable

from fluido.errors import EngineUnavailable, FluidoError
from fluido.llm._call import Call, Delta, Timings
from fluido.llm._engine import Engine, EngineFacts, Pulse, Telling

# The same fault of the same adapter is told again after so long, with how often it came meanwhile.
AGAIN_S = 60.0
MOST_KINDS = 64

_log = logging.getLogger("fluido.llm")


class Faults:
    """The log of what one adapter raised beyond its protocol: each kind at once, then once in `AGAIN_S`."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._name = name
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[float, int]] = {}  # when, and how often since then

    def note(self, error: BaseException, doing: str) -> None:
        """The adapter raised `error` where it was `doing` something. An error of fluido's own is none."""
        if isinstance(error, FluidoError):
            return
        kind, now_s = (doing, type(error).__name__), self._clock()
        told_s, left_out = self._told.get(kind, (None, 0))
        if told_s is not None and now_s - told_s < AGAIN_S:
            self._told[kind] = (told_s, left_out + 1)
            return
        if len(self._told) >= MOST_KINDS:
            self._told.clear()
        self._told[kind] = (now_s, 0)
        more = f" ({left_out} more times since it was told)" if left_out else ""
        _log.error("the adapter of %s failed at %s: %r%s", self._name, doing, error, more, exc_info=error)


class Guarded:
    """An engine whose questions raise nothing but fluido's errors; its streams are guarded by `Attempt`."""

    def __init__(self, engine: Engine, faults: Faults) -> None:
        self._engine = engine
        self._faults = faults

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._engine.name

    def _failed(self, error: Exception, doing: str) -> FluidoError:
        if isinstance(error, FluidoError):
            return error
        self._faults.note(error, doing)
        return EngineUnavailable(f"{self.name} cannot be asked ({doing}): {type(error).__name__}: {error}")

    async def open(self) -> None:
        """See `Engine.open`."""
        await self._engine.open()

    async def close(self) -> None:
        """See `Engine.close`; what the adapter cannot close is told and left."""
        try:
            await self._engine.close()
        except Exception as error:  # noqa: BLE001  (the others are to be closed too)
            self._faults.note(error, "close")

    async def facts(self, model: str = "") -> EngineFacts:
        """See `Engine.facts`."""
        try:
            return await self._engine.facts(model)
        except Exception as error:
            raise self._failed(error, "facts") from error

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        """See `Engine.load`."""
        try:
            await self._engine.load(model, window_tokens)
        except Exception as error:
            raise self._failed(error, "load") from error

    def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Delta | Timings, None]:
        """See `Engine.stream`."""
        return self._engine.stream(call, slot=slot)


class GuardedTelling(Guarded):
    """The same for an engine that tells more of itself."""

    _engine: Telling  # type: ignore[assignment]

    async def has(self, model: str) -> bool | None:
        """See `Telling.has`."""
        try:
            return await self._engine.has(model)
        except Exception as error:
            raise self._failed(error, "has") from error

    async def pulse(self, model: str = "") -> Pulse:
        """See `Telling.pulse`."""
        try:
            return await self._engine.pulse(model)
        except Exception as error:
            raise self._failed(error, "pulse") from error


def guarded(engine: Engine, faults: Faults) -> Engine:
    """`engine` inside the boundary; it tells what it told before."""
    return GuardedTelling(engine, faults) if isinstance(engine, Telling) else Guarded(engine, faults)
