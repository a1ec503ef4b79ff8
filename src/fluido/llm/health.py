"""Whether an engine answers, judged by the calls it serves; while it does not, it is asked again."""

import asyncio
from collections.abc import Awaitable, Callable

from fluido.errors import EngineUnavailable, FluidoError
from fluido.llm.errors import EngineBusy, StreamBroken

BROKEN_STREAMS_TO_DOWN = 3
FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 2.0


class Health:
    """Up or down. `probe` and `say_something` raise while the engine does not work; `on_change` is told.

    One refused connection is enough for down: every call would wait for the same. A stream that broke may be
    that call's own fault, so it takes three in a row without an answer between them.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        say_something: Callable[[], Awaitable[None]],
        on_change: Callable[[bool], None],
    ) -> None:
        self._probe = probe
        self._say_something = say_something
        self._on_change = on_change
        self._broken = 0
        self._recovery: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._looked.set()
        self.up = True
        self.reason = ""
        self.downs = 0
        self.retry_s = FIRST_RETRY_S

    @property
    def is_sure(self) -> bool:
        """Whether it is up, or was asked again since it failed and is away indeed."""
        return self.up or self._looked.is_set()

    async def looked(self) -> None:
        """Return when it is sure: `FIRST_RETRY_S` and one probe after it failed."""
        await self._looked.wait()

    def succeeded(self) -> None:
        """A call was answered to its end."""
        self._broken = 0

    def failed(self, error: FluidoError) -> None:
        """A call failed with `error`; what it says about the engine is decided here."""
        if isinstance(error, EngineBusy) or not isinstance(error, EngineUnavailable):
            return
        if isinstance(error, StreamBroken):
            self._broken += 1
            if self._broken < BROKEN_STREAMS_TO_DOWN:
                return
        self.down(str(error))

    def down(self, reason: str) -> None:
        """Stop using the engine and begin to ask for it."""
        self.reason = reason
        if not self.up:
            return
        self.up = False
        self.downs += 1
        self.retry_s = FIRST_RETRY_S
        self._looked.clear()
        self._on_change(False)
        self._recovery = asyncio.create_task(self._recover(), name="fluido-llm-recovery")

    def unavailable(self, name: str) -> EngineUnavailable:
        """What a call gets while the engine is down."""
        return EngineUnavailable(f"{name} is down: {self.reason}", retry_after_s=self.retry_s)

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(self.retry_s)
            try:
                await self._probe()
                if self._broken:
                    # It was up by its own word and broke every answer: it has to give one.
                    await self._say_something()
            except FluidoError as error:
                self.reason = str(error)
                self.retry_s = min(LONGEST_RETRY_S, 2 * self.retry_s)
                self._looked.set()
                continue
            self._broken = 0
            self.up = True
            self.reason = ""
            self._looked.set()
            self._on_change(True)
            return

    async def close(self) -> None:
        """Stop asking. Idempotent."""
        self._looked.set()
        recovery, self._recovery = self._recovery, None
        if recovery is not None:
            recovery.cancel()
            await asyncio.wait({recovery})
