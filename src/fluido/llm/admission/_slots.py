"""KV cache slots of one engine: what each holds, who is in it, and where a call that was let in goes.

The beliefs are in `beliefs` and `residency`; here is the looking, before a pin and after an answer.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from fluido.errors import FluidoError
from fluido.llm._engine import Engine, EngineFacts, Pulse, SlotState, Telling
from fluido.llm.admission._beliefs import Company, Purse
from fluido.llm.admission._residency import Residency
from fluido.llm.admission._seats import Seat, Seats

UNKNOWN_SLOTS = 1
# A look at the slots before a pin costs the call its own time: an engine at work answers after its batch.
LOOK_S = 0.25
PULSE_S = 2.0
FINDS, FIND_S = 3, 0.02
# How long a call waits for room beside the calls of others, and how often it looks.
BESIDE_S, BESIDE_LOOK_S = 30.0, 0.1


class Slots:
    """The slots of `engine`, of whose calls in flight `seats` are ours. `model` is whose slots they are."""

    def __init__(self, engine: Engine, model: str, seats: Seats, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._model = model
        self._seats = seats
        self._clock = clock
        self.residency = Residency()
        self.company = Company(clock)
        self.purse = Purse()
        self._asking: set[asyncio.Task[None]] = set()

    def anew(self, facts: EngineFacts) -> None:
        """A process that nothing is known of. Who is in flight keeps the index it was placed by."""
        slots = facts.slots or UNKNOWN_SLOTS
        self.residency = Residency(slots, pins=facts.pins_slots)
        self.company = Company(self._clock)
        window = facts.context_tokens if facts.pins_slots else 0
        self.purse = Purse(window, slots, known_tokens=facts.kv_tokens)

    async def close(self) -> None:
        """Give up what is being asked. Idempotent."""
        tasks = set(self._asking)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def takes(self, tokens: int) -> bool:
        """Whether a call of `tokens` fits beside those in flight, where the slots share one buffer."""
        purse = self.purse
        # what is in flight is summed over all calls: not where it does not matter
        return purse.is_endless or purse.takes(tokens, self._tokens(), beside_others=self.company.is_seen)

    def left(self, seat: Seat) -> None:
        """A call ended: what its slot holds now."""
        slot = seat.place.slot
        if seat.unbegun:
            seat.residency.untouched(slot)
        elif seat.leaves is None:
            seat.residency.lost(slot, None if seat.refused else seat.demand.prefix)
        else:
            seat.residency.served(slot, seat.leaves)
        self.company.served(slot)

    def overflowed(self) -> None:
        """The engine said that its memory is full: with what it holds of ours. Others may have filled it."""
        self.purse.overflowed(self._tokens())
        self.company.suspect()

    async def settle(self, seat: Seat) -> None:
        """Place a call that was let in: which slot, or none. Looks first where others may be in the slots.

        Asked when nothing else of ours runs (others may have come meanwhile), and when others were seen.
        """
        index, sure = seat.residency, True
        if self._asking and index.pins:
            await asyncio.wait(set(self._asking), timeout=LOOK_S)  # where the last call was is being asked
        if index.pins and isinstance(self._engine, Telling) and self._looks():
            sure = await self._look(self._engine)
            if sure and self.purse.is_shared:
                sure = await self._till_it_fits(seat, self._engine)
        seat.tasks = self.company.tasks
        busy = self._seats.slots | self.company.taken if index.pins else self._seats.slots
        seat.place = index.place(seat.demand.prefix, busy, pin=sure, pin_new=self.company.alone)

    def _looks(self) -> bool:
        """Whether a look at the slots is worth its time before a call is placed."""
        if self._seats.inflight <= 1 or not self.company.alone or self._unplaced() > 1:
            return True
        # where one buffer gets full, who else fills it matters to each call
        return self.purse.is_shared and 2 * self._tokens() > self.purse.tokens

    async def _till_it_fits(self, seat: Seat, engine: Telling) -> bool:
        """Wait while others fill the one buffer: a call too many costs everybody in it his answer.

        At most `BESIDE_S`, and the caller's deadline. Whether the slots could be seen to the end.
        """
        until_s = self._clock() + BESIDE_S
        while (theirs := self._their_tokens(seat)) > 0 and self._clock() < until_s:
            held = self._tokens() - seat.demand.tokens
            if self.purse.takes(seat.demand.tokens, held, others_tokens=theirs):
                break
            await asyncio.sleep(BESIDE_LOOK_S)
            if not await self._look(engine):
                return False
        return True

    def _tokens(self) -> int:
        """Of all calls of ours in flight."""
        return sum(seat.demand.tokens for seat in self._seats)

    def _their_tokens(self, seat: Seat) -> int:
        """What others held at the last look; calls of ours without a pin look like theirs."""
        unplaced = (each for each in self._seats if each is not seat and each.place.slot < 0)
        return max(0, self.company.taken_tokens - sum(each.demand.tokens for each in unplaced))

    async def _look(self, engine: Telling) -> bool:
        """Whether the slots could be seen in time."""
        try:
            async with asyncio.timeout(LOOK_S):
                self.see(await engine.pulse(self._model), unsent=1)
        except (FluidoError, TimeoutError):
            return False
        return True

    def see(self, pulse: Pulse, *, unsent: int = 0) -> None:
        """Learn from the slots as the engine shows them; `unsent` calls of ours have not begun."""
        if pulse.slots is None:
            return
        for slot in self.company.see(pulse, self._seats.slots, self._unplaced() - unsent):
            self.residency.taken(slot)
        self._weigh(pulse.slots)

    def _unplaced(self) -> int:
        """Calls of ours at work in a slot that the engine chose, this one included."""
        return sum(slot < 0 for slot in (*(s.place.slot for s in self._seats), *self._seats.ghost_slots))

    def _weigh(self, slots: tuple[SlotState, ...]) -> None:
        """What the slots hold tells whether they are cut from one buffer."""
        held = [state.held_tokens for state in slots if state.task >= 0]
        if any(tokens is None for tokens in held):
            return
        emptied = [state.slot for state in slots if state.task >= 0 and not state.held_tokens]
        for slot in emptied:
            self.residency.taken(slot)
        if [slot for slot in emptied if slot not in self._seats.slots]:
            self.residency.empties()
            self.purse.is_one()
        self.purse.holds(sum(tokens or 0 for tokens in held))

    def find(self, seat: Seat, prompt_tokens: int, output_tokens: int) -> None:
        """Find out, in nobody's time, which slot an unpinned call was given."""
        if seat.place.slot >= 0 or not (seat.residency.pins and isinstance(self._engine, Telling)):
            return
        task = asyncio.create_task(
            self._find(self._engine, seat, prompt_tokens + output_tokens - 1), name="fluido-llm-slot"
        )
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _find(self, engine: Telling, seat: Seat, held_tokens: int) -> None:
        with suppress(FluidoError, TimeoutError):
            async with asyncio.timeout(PULSE_S):
                for _ in range(FINDS):  # a slot is given back a moment after its last token
                    pulse = await engine.pulse(self._model)
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
