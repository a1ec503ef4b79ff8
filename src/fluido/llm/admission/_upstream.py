"""An upstream server: what is known of one engine, and how that is asked again.

Facts (`facts`, asked at the start, after each load and whenever it was away), health, models that it lacks.
Beliefs live in `health`, `beliefs`, `slots` and `loader`; here is the asking.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from fluido._sample import Outcome
from fluido.errors import FluidoError
from fluido.llm._engine import Engine, EngineFacts, Life, Pulse, Telling
from fluido.llm._errors import ModelMissing
from fluido.llm.admission._beliefs import Lacks
from fluido.llm.admission._estimate import Estimate
from fluido.llm.admission._health import SURE_S, Health, say_something
from fluido.llm.admission._loader import Loader
from fluido.llm.admission._residency import Residency
from fluido.llm.admission._seats import ResidencyStats, Seat, Seats
from fluido.llm.admission._slots import PULSE_S, Slots
from fluido.llm.engines import Faults, guarded

IDLE_SHARE = 0.9
OPEN_S = 10.0

_log = logging.getLogger("fluido.llm")


class Upstream:
    """One engine and what is believed of it. `Station` is the admission in front of it."""

    def __init__(
        self, engine: Engine, *, model: str = "", clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.faults = Faults(engine.name, clock=clock)
        self.engine = guarded(engine, self.faults)
        self.model = model
        self.facts: EngineFacts | None = None
        self.estimate = Estimate()
        self.lacks = Lacks(clock)
        self.loader = Loader(self._load, self._pause, self._resume, clock=clock)
        self.health = Health(
            self._probe, self._prove, self._changed, name=engine.name, faults=self.faults, clock=clock
        )
        self.seats = Seats(clock, self._grant)
        self.slots = Slots(self.engine, model, self.seats, clock)
        self._clock = clock
        self.followed_tokens = 0
        """The window in which another client loaded the model, where it is not ours; 0: it is ours."""
        self._opening: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name

    @property
    def residency(self) -> Residency:
        """What the engine holds, as far as that is known."""
        return self.slots.residency

    @property
    def tells_residency(self) -> bool:
        """Whether what the engine holds can be known: it has slots, told or found."""
        return self.facts is not None and self.facts.kind != "openai"

    def residency_stats(self) -> ResidencyStats:
        """Figures of what the engine holds."""
        return ResidencyStats(
            slots=len(self.residency),
            hits=self.residency.hits,
            misses=self.residency.misses,
            loads=self.loader.loads,
            unplanned_loads=self.loader.unplanned,
            ghosts=self.seats.ghosts,
        )

    def _haunts_s(self, seat: Seat, now_s: float) -> float:
        """How long the engine computes on for a call that left in its prefill without being noticed."""
        is_through = seat.prefilled or seat.refused or seat.outcome is Outcome.OK
        if is_through or self.facts is None or self.facts.ends_prefill:
            return 0.0
        return seat.demand.first_token_s - (now_s - seat.started_s)

    async def _pause(self) -> None:
        raise NotImplementedError

    def _resume(self) -> None:
        raise NotImplementedError

    def _changed(self, up: bool) -> None:
        raise NotImplementedError

    def _grant(self) -> None:
        raise NotImplementedError

    def _resized(self, facts: EngineFacts) -> None:
        """The engine has another number of slots than before, or is new."""

    async def _connect(self) -> None:
        """Ask the engine about itself. One that is away or slow is waited for in the background."""
        await self.engine.open()
        self._opening = asyncio.create_task(self._probe(), name="fluido-llm-first-look")
        await asyncio.wait({self._opening}, timeout=SURE_S)
        if not self._opening.done() and await self._is_there():
            await asyncio.wait({self._opening}, timeout=OPEN_S)
        if not self._opening.done():
            self.health.down("it has not answered yet")
            return
        error = self._opening.exception()
        if error is None:
            return
        self.faults.note(error, "first look")
        self.health.down(error)

    async def _is_there(self) -> bool:
        """Whether an engine whose facts take long answers a cheap question."""
        if not isinstance(self.engine, Telling):
            return False
        try:
            async with asyncio.timeout(PULSE_S):
                await self.engine.pulse(self.model)
        except (FluidoError, TimeoutError):
            return False
        return True

    async def _disconnect(self) -> None:
        await self.health.close()
        await self.loader.close()
        await self.slots.close()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        await self.engine.close()

    async def _probe(self) -> None:
        """Everything the engine says of itself; what it cannot hold any more is forgotten."""
        opening = self._opening
        if opening is not None and not opening.done() and opening is not asyncio.current_task():
            await asyncio.shield(opening)  # the first question is still being answered
            return
        facts = await self._facts()
        before, self.facts = self.facts, facts
        is_other = before is None or before.instance != facts.instance or before.slots != facts.slots
        if is_other or before is None:
            self.slots.anew(facts)
        elif self.health.gone and not (before.tells_restart and facts.tells_restart):
            self.residency.clear()
        if before is None or before.slots != facts.slots:
            self._resized(facts)
        self.loader.idle_s = IDLE_SHARE * facts.idle_s
        self.loader.forget()
        if facts.resident:
            self.loader.served(facts.named(self.model), 0.0)
        if facts.pins_slots and isinstance(self.engine, Telling):
            with suppress(FluidoError):
                self.slots.see(await self.engine.pulse(self.model))

    async def _facts(self) -> EngineFacts:
        return await self.engine.facts(self.model)

    async def _prove(self) -> None:
        """The engine's own proof: its model loaded by the loader, in the loader's time, then one token."""
        model = self.facts.named(self.model) if self.facts is not None else self.model
        await self.ready(model)
        await say_something(self.engine, model)

    async def ready(self, model: str, needed_tokens: int = 0) -> None:
        """Return when `model` can be served; see `Loader.ready`.

        Where another client loaded it with a window of its own, that one is followed as long as
        `needed_tokens` fit: to insist would load the model again for both, at each turn.
        """
        if self.facts is None or not self.facts.loads:
            return
        model = self.facts.named(model)
        if not self.seats.inflight and self.loader.resident(model):
            await self._check_resident(model)
        if 0 < self.followed_tokens < needed_tokens:
            self.loader.displaced(model)
        await self.loader.ready(model)

    async def check_resident(self) -> bool:
        """Ask whether the model is loaded, while nothing of ours is in flight, and with which window."""
        if self.facts is None or not self.facts.loads:
            return True
        model = self.facts.named(self.model)
        await self._check_resident(model)
        return self.loader.resident(model)

    async def _check_resident(self, model: str) -> None:
        """Nothing of ours is in flight, so another client may have unloaded it, or changed its window."""
        if not isinstance(self.engine, Telling) or self.facts is None:
            return
        with suppress(FluidoError, TimeoutError):
            async with asyncio.timeout(PULSE_S):
                pulse = await self.engine.pulse(model)
            own, seen = self.facts.context_tokens, pulse.window_tokens
            is_other = model == self.facts.named("") and own > 0 < seen != own
            other = seen if is_other else 0
            if pulse.resident is False:
                self.loader.forget(model)
            if pulse.resident is False or other != self.followed_tokens:
                self.residency.clear()  # it was loaded again, or will be
            self.followed_tokens = other

    async def _load(self, model: str, window_tokens: int | None) -> None:
        await self.engine.load(model, window_tokens)
        self.residency.clear()
        self.followed_tokens = 0
        if self.facts is None or model not in {"", self.facts.named(self.model)}:
            return
        try:
            self.facts = await self._facts()  # its window is known only now
        except FluidoError as error:
            _log.warning("%s loaded %s and cannot be asked: %s", self.name, model, error)

    async def lives(self, within_s: float = PULSE_S) -> Life:
        """Whether the engine is at work, maybe for a call of ours. Raises nothing."""
        try:
            async with asyncio.timeout(within_s):
                pulse = await self.pulse()
        except (FluidoError, TimeoutError):
            return Life.MUTE
        if pulse.resident is False and self.facts is not None:
            self.loader.forget(self.facts.named(self.model))
        if pulse.slots is None:
            return Life.UNTOLD
        return Life.AT_WORK if any(state.busy for state in pulse.slots) else Life.IDLE

    async def pulse(self) -> Pulse:
        """The engine's pulse; one that has none is asked for its facts."""
        if isinstance(self.engine, Telling):
            return await self.engine.pulse(self.model)
        await self.engine.facts(self.model)
        return Pulse()

    async def ask_for(self, model: str) -> None:
        """Ask again whether the engine has a model that it lacked. Raises nothing."""
        self.lacks.asked(model)
        if not isinstance(self.engine, Telling):
            self.lacks.found(model)  # it cannot be asked: the next call will tell
            return
        with suppress(FluidoError):
            if await self.engine.has(model) is not False:
                self.lacks.found(model)

    def missing(self, model: str) -> ModelMissing | None:
        """What the engine said when it did not have `model`."""
        return self.lacks.missing(self.facts.named(model) if self.facts is not None else model)
