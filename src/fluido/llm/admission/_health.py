"""Health check of an engine: whether it answers, judged by the calls it serves; down, it is asked again.

What counts against an engine, and how it is unlearned:

| seen | believed | unlearned by |
|---|---|---|
| refused connection, nobody answers | down | a probe (0.2 s later, then up to every 2 s) |
| a call and two questions without an answer, where another engine is up | down, the same | the same |
| three streams broken in a row | down, has to prove itself | an answer; a probe and one token |
| CallFailed for three callers in a row | suspected: asked for one token while it goes on | that token |
| a call that it refused and another engine answered | passed over, 5 s and doubling | an answer of its own |
| any other refusal | nothing: that call is wrong | |
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from fluido.errors import EngineUnavailable, FluidoError
from fluido.llm._call import Call, Message, Options
from fluido.llm._engine import Engine
from fluido.llm._errors import CallFailed, EngineBusy, ModelMissing, Mute, StreamBroken
from fluido.llm.engines import Faults

BROKEN_STREAMS_TO_DOWN = 3
FAILED_CALLERS_TO_SUSPECT = 3
FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 2.0
# A caller who meets an engine that says nothing is told so after this long, however long questions may take.
SURE_S = 0.8
FIRST_PASSED_OVER_S, LONGEST_PASSED_OVER_S = 5.0, 300.0

_log = logging.getLogger("fluido.llm")
PROOF_S = 10.0


class Health:
    """Up or down. `probe` and `prove` raise while the engine does not work; `on_change` is told.

    One refused connection is enough for down: every call would wait for the same. A stream that broke may be
    that call's own fault, so it takes three in a row without an answer between them. `prove` may take as long
    as a load: callers who meet the engine in the first proof after it came back wait for it.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        prove: Callable[[], Awaitable[None]],
        on_change: Callable[[bool], None],
        *,
        name: str = "the engine",
        faults: Faults | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._probe = probe
        self._prove = prove
        self._on_change = on_change
        self._name = name
        self._faults = faults or Faults(name, clock=clock)
        self._clock = clock
        self._broken = 0
        self._failed_callers: set[object] = set()
        self._recovery: asyncio.Task[None] | None = None
        self._suspicion: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._looked.set()
        self._proving = False
        self._passed_over_until_s = 0.0
        self._passed_over_s = 0.0
        self._missing: ModelMissing | None = None
        self._back = asyncio.Event()
        self._back.set()
        self._is_silence = False
        self.up = True
        self.down_s = 0.0
        """When it went down, on the clock."""
        self.gone = False
        """Whether nobody answered: what comes back may be another process."""
        self.reason = ""
        self.downs = 0
        self.retry_s = FIRST_RETRY_S

    @property
    def is_sure(self) -> bool:
        """Whether it is up, or was asked again since it failed and is away indeed."""
        return self.up or (self._looked.is_set() and not self._proving)

    @property
    def may_return(self) -> bool:
        """Whether it is down because nobody answers there, and is being asked again."""
        return not self.up and self._is_silence and self._recovery is not None

    async def back(self) -> None:
        """Return when it is up, or asked no more."""
        await self._back.wait()

    async def looked(self) -> None:
        """Return when it is sure: after a probe or `SURE_S` of silence, and the proof of one that is back."""
        try:
            async with asyncio.timeout(FIRST_RETRY_S + SURE_S):
                await self._looked.wait()
        except TimeoutError:
            if not self._proving:
                self._looked.set()
                return
        await self._looked.wait()

    def succeeded(self) -> None:
        """A call was answered to its end."""
        self._broken = 0
        self._failed_callers.clear()
        self._passed_over_s = self._passed_over_until_s = 0.0

    def failed(self, error: FluidoError, caller: object = None) -> None:
        """A call of `caller` failed with `error`; what it says about the engine is decided here."""
        if isinstance(error, EngineBusy):
            return
        if isinstance(error, CallFailed) or (isinstance(error, StreamBroken) and error.told):
            self._failed_callers.add(caller)
            if len(self._failed_callers) >= FAILED_CALLERS_TO_SUSPECT and self.up:
                self._suspect()
            return
        if not isinstance(error, EngineUnavailable):
            return
        if isinstance(error, StreamBroken):
            self._broken += BROKEN_STREAMS_TO_DOWN if isinstance(error, Mute) else 1
            if self._broken < BROKEN_STREAMS_TO_DOWN:
                return
        self.down(error)

    def outdone(self) -> None:
        """Another engine answered a call that this one refused: it is not idle, it is the wrong one."""
        self._passed_over_s = min(LONGEST_PASSED_OVER_S, 2 * self._passed_over_s) or FIRST_PASSED_OVER_S
        self._passed_over_until_s = self._clock() + self._passed_over_s
        _log.info("%s refuses what others answer: passed over for %.0f s", self._name, self._passed_over_s)

    @property
    def is_passed_over(self) -> bool:
        """Whether others are asked first."""
        return self._clock() < self._passed_over_until_s

    def down(self, cause: BaseException | str) -> None:
        """Stop using the engine and begin to ask for it."""
        self._note(cause)
        if not self.up:
            return
        _log.warning("%s is down: %s", self._name, self.reason)
        self.up = False
        self.down_s = self._clock()
        self.downs += 1
        self._back.clear()
        self.retry_s = FIRST_RETRY_S
        self._looked.clear()
        self._on_change(False)
        self._recovery = asyncio.create_task(self._recover(), name="fluido-llm-recovery")

    def _note(self, cause: BaseException | str) -> None:
        self._missing = cause if isinstance(cause, ModelMissing) else None
        self._is_silence = isinstance(cause, EngineUnavailable | str)
        self.gone |= isinstance(cause, EngineUnavailable) and not isinstance(cause, StreamBroken)
        is_ours = isinstance(cause, FluidoError | str)
        self.reason = str(cause) if is_ours else f"{type(cause).__name__}: {cause}"

    def unavailable(self) -> FluidoError:
        """What a call gets while the engine is down."""
        if self._missing is not None:
            return self._missing
        return EngineUnavailable(f"{self._name} is down: {self.reason}", retry_after_s=self.retry_s)

    async def _recover(self) -> None:
        first = True
        while True:
            await asyncio.sleep(self.retry_s)
            try:
                await self._probe()
                if self._broken:
                    # It was up by its own word and broke every answer: it has to give one.
                    if first:
                        self._proving = True
                        self._looked.clear()
                    first = False
                    await self._prove()
            except Exception as error:  # noqa: BLE001  (whatever an adapter raises, the engine is asked again)
                self._said_no(error)
                continue
            self._broken = 0
            self._failed_callers.clear()
            self.up, self.gone, self._proving = True, False, False
            self.reason = ""
            _log.info("%s answers again", self._name)
            self._looked.set()
            self._on_change(True)
            self._back.set()
            return

    def _said_no(self, error: Exception) -> None:
        self._faults.note(error, "probe")
        self._note(error)
        self.retry_s = min(LONGEST_RETRY_S, 2 * self.retry_s)
        self._proving = False
        self._looked.set()

    def _suspect(self) -> None:
        if self._suspicion is None or self._suspicion.done():
            self._suspicion = asyncio.create_task(self._proved(), name="fluido-llm-suspicion")

    async def _proved(self) -> None:
        """Several callers got an error of the engine's own: one token decides whether it is the engine."""
        try:
            await self._prove()
        except Exception as error:  # noqa: BLE001  (as in `_recover`)
            self._faults.note(error, "proof")
            self._broken = BROKEN_STREAMS_TO_DOWN
            self.down(error)
        else:
            self._failed_callers.clear()

    async def close(self) -> None:
        """Stop asking. Idempotent."""
        self._looked.set()
        self._back.set()
        tasks = {task for task in (self._recovery, self._suspicion) if task is not None}
        self._recovery = self._suspicion = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def say_something(engine: Engine, model: str) -> None:
    """Return when `engine` has said a word, asked for out of the queue's sight.

    Nothing less proves that it answers. Raises what the engine raises, and StreamBroken when it is silent.
    """
    ping = Call((Message("user", "ping"),), model=model, options=Options(num_predict=1))
    try:
        async with asyncio.timeout(PROOF_S), aclosing(engine.stream(ping)) as stream:
            async for _ in stream:
                pass
    except TimeoutError as error:
        raise StreamBroken(f"{engine.name} says nothing") from error
