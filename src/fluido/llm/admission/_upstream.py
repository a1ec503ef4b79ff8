"""An upstream server: what is known of one engine, and how that is asked again.

Facts (`facts`, asked at the start, after each load and whenever it was away), health, models that it lacks,
who else uses its slots and what they hold. Beliefs live in `health`, `beliefs`, `residency` and `loader`;
here is the asking.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from fluido.errors import FluidoError
from fluido.llm._engine import Engine, EngineFacts, Life, Pulse, SlotState, Telling
from fluido.llm._errors import ModelMissing
from fluido.llm.admission._beliefs import Company, Lacks, Purse
from fluido.llm.admission._estimate import Estimate
from fluido.llm.admission._health import SURE_S, Health, say_something
from fluido.llm.admission._loader import Loader
from fluido.llm.admission._residency import Residency
from fluido.llm.admission._seats import Seat, Seats
from fluido.llm.engines import Faults, guarded

UNKNOWN_SLOTS = 1
IDLE_SHARE = 0.9
# A look at the slots before a pin costs the call its own time: an engine at work answers after its batch.
LOOK_S = 0.25
PULSE_S = 2.0
OPEN_S = 10.0
FINDS, FIND_S = 3, 0.02
# How long a call waits for room beside the calls of others, and how often it looks.
BESIDE_S, BESIDE_LOOK_S = 30.0, 0.1

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
        self.residency = Residency()
        self.company = Company(clock)
        self.purse = Purse()
        self.lacks = Lacks(clock)
        self.loader = Loader(self._load, self._pause, self._resume, clock=clock)
        self.health = Health(
            self._probe, self._prove, self._changed, name=engine.name, faults=self.faults, clock=clock
        )
        self.seats = Seats(clock, self._gone)
        self._clock = clock
        self.followed_tokens = 0
        """The window in which another client loaded the model, where it is not ours; 0: it is ours."""
        self._opening: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name

    @property
    def tells_residency(self) -> bool:
        """Whether what the engine holds can be known: it has slots, told or found."""
        return self.facts is not None and self.facts.kind != "openai"

    async def _pause(self) -> None:
        raise NotImplementedError

    def _resume(self) -> None:
        raise NotImplementedError

    def _changed(self, up: bool) -> None:
        raise NotImplementedError

    def _gone(self) -> None:
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
        tasks = {*self._asking, *({self._opening} if self._opening is not None else ())}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
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
            self._anew(facts)
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
                self.see(await self.engine.pulse(self.model))

    async def _facts(self) -> EngineFacts:
        return await self.engine.facts(self.model)

    def _anew(self, facts: EngineFacts) -> None:
        """A process that nothing is known of. Who is in flight keeps the index it was placed by."""
        slots = facts.slots or UNKNOWN_SLOTS
        self.residency = Residency(slots, pins=facts.pins_slots)
        self.company = Company(self._clock)
        can_share = facts.pins_slots
        window = facts.context_tokens if can_share else 0
        self.purse = Purse(window, slots, known_tokens=facts.kv_tokens)

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

    async def settle(self, seat: Seat) -> None:
        """Place a call that was let in: which slot, or none. Looks first where others may be in the slots.

        Asked when nothing else of ours runs (others may have come meanwhile), and when others were seen.
        """
        index, sure = seat.residency, True
        if self._asking and index.pins:
            await asyncio.wait(set(self._asking), timeout=LOOK_S)  # where the last call was is being asked
        if index.pins and isinstance(self.engine, Telling) and self._looks():
            sure = await self._look(self.engine)
            if sure and self.purse.is_shared:
                sure = await self._till_it_fits(seat, self.engine)
        seat.tasks = self.company.tasks
        busy = self.seats.slots | self.company.taken if index.pins else self.seats.slots
        seat.place = index.place(seat.order.prefix, busy, pin=sure, pin_new=self.company.alone)

    def _looks(self) -> bool:
        """Whether a look at the slots is worth its time before a call is placed."""
        if self.seats.inflight <= 1 or not self.company.alone or self._unplaced() > 1:
            return True
        # where one buffer gets full, who else fills it matters to each call
        return self.purse.is_shared and 2 * self._tokens() > self.purse.tokens

    async def _till_it_fits(self, seat: Seat, engine: Telling) -> bool:
        """Wait while others fill the one buffer: a call too many costs everybody in it his answer.

        At most `BESIDE_S`, and the caller's deadline. Whether the slots could be seen to the end.
        """
        until_s = self._clock() + BESIDE_S
        while (theirs := self._their_tokens(seat)) > 0 and self._clock() < until_s:
            held = self._tokens() - seat.order.tokens
            if self.purse.takes(seat.order.tokens, held, others_tokens=theirs):
                break
            await asyncio.sleep(BESIDE_LOOK_S)
            if not await self._look(engine):
                return False
        return True

    def _tokens(self) -> int:
        """Of all calls of ours in flight."""
        return sum(seat.order.tokens for seat in self.seats)

    def _their_tokens(self, seat: Seat) -> int:
        """What others held at the last look; calls of ours without a pin look like theirs."""
        unplaced = (each for each in self.seats if each is not seat and each.place.slot < 0)
        return max(0, self.company.taken_tokens - sum(each.order.tokens for each in unplaced))

    async def _look(self, engine: Telling) -> bool:
        """Whether the slots could be seen in time."""
        try:
            async with asyncio.timeout(LOOK_S):
                self.see(await engine.pulse(self.model), unsent=1)
        except (FluidoError, TimeoutError):
            return False
        return True

    def see(self, pulse: Pulse, *, unsent: int = 0) -> None:
        """Learn from the slots as the engine shows them; `unsent` calls of ours have not begun."""
        if pulse.slots is None:
            return
        for slot in self.company.see(pulse, self.seats.slots, self._unplaced() - unsent):
            self.residency.taken(slot)
        self._weigh(pulse.slots)

    def _unplaced(self) -> int:
        """Calls of ours at work in a slot that the engine chose, this one included."""
        return sum(slot < 0 for slot in (*(s.place.slot for s in self.seats), *self.seats.ghost_slots))

    def _weigh(self, slots: tuple[SlotState, ...]) -> None:
        """What the slots hold tells whether they are cut from one buffer."""
        held = [state.held_tokens for state in slots if state.task >= 0]
        if any(tokens is None for tokens in held):
            return
        emptied = [state.slot for state in slots if state.task >= 0 and not state.held_tokens]
        for slot in emptied:
            self.residency.taken(slot)
        if [slot for slot in emptied if slot not in self.seats.slots]:
            self.residency.empties()
            self.purse.is_one()
        self.purse.holds(sum(tokens or 0 for tokens in held))

    def find_slot(self, seat: Seat, prompt_tokens: int, output_tokens: int) -> None:
        """Find out, in nobody's time, which slot an unpinned call was given."""
        if seat.place.slot >= 0 or not (seat.residency.pins and isinstance(self.engine, Telling)):
            return
        task = asyncio.create_task(
            self._find(self.engine, seat, prompt_tokens + output_tokens - 1), name="fluido-llm-slot"
        )
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _find(self, engine: Telling, seat: Seat, held_tokens: int) -> None:
        with suppress(FluidoError, TimeoutError):
            async with asyncio.timeout(PULSE_S):
                for _ in range(FINDS):  # a slot is given back a moment after its last token
                    pulse = await engine.pulse(self.model)
                    mine = [
                        state.slot
                        for state in pulse.slots or ()
                        if state.held_tokens == held_tokens
                        and state.task != seat.tasks.get(state.slot, -1)
                        and not state.busy
                    ]
                    if mine or pulse.slots is None:
                        break
                    await asyncio.sleep(FIND_S)
            if len(mine) == 1 and seat.residency is self.residency and seat.leaves is not None:
                self.residency.found_in(mine[0], seat.leaves)
                self.company.placed(mine[0])
            self.see(pulse)

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
