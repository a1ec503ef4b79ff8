"""One call from the queue to its last token.

Choose an engine, wait, stream, learn; again if nobody heard a word.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from fluido.errors import EngineUnavailable, FluidoError, LimitReached, WaitTimeout
from fluido.flow.spans import part
from fluido.llm.call import Call, Kind, Timings
from fluido.llm.compose import Composer, Prompt
from fluido.llm.errors import EngineBusy, PromptTooLong, StreamBroken
from fluido.llm.health import Health
from fluido.llm.profile import runner_notes
from fluido.llm.queue import Reservation
from fluido.llm.relay import Relay
from fluido.llm.route import Choice, choose
from fluido.llm.seat import Order, Seat
from fluido.llm.station import Station
from fluido.llm.thoughts import only_thoughts
from fluido.llm.wishes import refuse_other_runner, wider_window
from fluido.sample import Outcome

ATTEMPTS = 2
SHORTENED = 3
COMFORT = 1.5
CROWDED_S = 0.05
CROWDED_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is believed, in seconds.

    A first token is given up after four times what it should take, but not before `first_token_floor_s` and
    not after `first_token_s`. `slow_reader_s` is how long a full reader may hold an answer.
    """

    first_token_floor_s: float = 30.0
    first_token_s: float = 120.0
    gap_s: float = 15.0
    slow_reader_s: float = 10.0

    def for_first_token(self, expected_s: float) -> float:
        """How long to wait for a first token that should take `expected_s`."""
        floor_s = min(self.first_token_floor_s, self.first_token_s)
        return max(floor_s, min(4.0 * expected_s, self.first_token_s))


@dataclass(slots=True)
class Job:
    """A call on its way, and what was tried for it."""

    call: Call
    kind: Kind
    came_s: float
    retries: int = 0
    asked: int = 0
    """How often an engine was given it: one that only waited for an engine that died has cost nobody."""
    tried: set[str] = field(default_factory=set)
    shortened: int = 0
    sent: Prompt | None = None
    place: Reservation | None = None


class Serving:
    """Serves jobs on stations. `cold_prefill_s`: so much computing is a lost conversation's history worth."""

    def __init__(
        self,
        stations: Sequence[Station],
        composer: Composer,
        patience: Patience,
        *,
        cold_prefill_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._stations = stations
        self._composer = composer
        self._patience = patience
        self._cold_prefill_s = cold_prefill_s
        self._clock = clock
        self.retried = 0

    async def serve(self, job: Job, relay: Relay) -> Timings:
        """The whole way. Tries again, elsewhere if there is an elsewhere, while nobody has heard a word."""
        await self._till_sure()
        if job.call.runner:
            await self._hear(job.call)
        while True:
            choice = self._choice(job)
            try:
                return await self._served(job, choice, relay)
            except EngineUnavailable as error:
                job.retries += 1
                job.tried.add(choice.station.name)
                if relay.started or job.asked >= ATTEMPTS:
                    raise
                await self._till_sure()
                if not any(station.health.up for station in self._stations):
                    raise
                self.retried += 1
                if isinstance(error, EngineBusy):
                    await asyncio.sleep(error.retry_after_s or 0.0)
            except PromptTooLong as error:
                # The engine counts better than we do: again, with what it told learned.
                if not job.call.trim or not self._shorter(job, choice, error):
                    raise
                job.shortened += 1

    def _shorter(self, job: Job, choice: Choice, error: PromptTooLong) -> bool:
        """Learn from the refusal; whether the next prompt would be another one."""
        facts = choice.station.facts
        prompt = job.sent or choice.prompt
        self._composer.outgrown(prompt, error, facts)
        again = self._composer.compose(job.call, job.kind, facts).call
        refused = prompt.call
        is_other = (again.messages, again.options) != (refused.messages, refused.options)
        return is_other and job.shortened < SHORTENED

    async def _till_sure(self) -> None:
        """Where all engines are down and one of them failed just now, wait until it was asked once more.

        A connection that was reset is not an engine that died, and a fifth of a second is no wait.
        """
        while (unsure := self._unsure()) is not None:
            await unsure.looked()

    def _unsure(self) -> Health | None:
        """An engine of which it is not known yet whether it is away, where none is up."""
        if any(station.health.up for station in self._stations):
            return None
        return next((station.health for station in self._stations if not station.health.is_sure), None)

    async def _hear(self, call: Call) -> None:
        """The caller's wishes about the runner, before anything is composed for the window."""
        for station in self.stations_up():
            refuse_other_runner(call, station.facts)
            asked = wider_window(call, station.facts)
            if asked and station.facts is not None:
                model = station.facts.named(call.model)
                await station.ready(model)
                now, most = station.facts.context_tokens, station.facts.most_context_tokens
                await station.loader.widen(model, asked, now, most)

    def stations_up(self) -> list[Station]:
        """The engines that answer. Raises EngineUnavailable when none does."""
        up = [station for station in self._stations if station.health.up]
        if not up:
            raise self._stations[0].health.unavailable(self._stations[0].name)
        return up

    def check_room(self, job: Job) -> None:
        """Raise what the engine that would be chosen now would raise at once."""
        choice = self._room(job)
        if choice is not None:
            choice.station.check(choice.order)

    def reserve(self, job: Job) -> Reservation:
        """Hold a place at the engine that would be chosen now; raises what `check_room` does."""
        choice = self._room(job)
        if choice is not None:
            return choice.station.reserve(choice.order)
        queue = self._stations[0].queue
        if not queue.takes(job.call.lane):
            raise LimitReached("the queue is full", waiting=len(queue))
        return queue.reserve(0.0)

    def _room(self, job: Job) -> Choice | None:
        """The choice that would be made now; None when it is not known yet. Raises what is certain."""
        if self._unsure() is not None:
            return None
        up = self.stations_up()
        for station in up:
            refuse_other_runner(job.call, station.facts)
        try:
            return self._choice(job)
        except PromptTooLong:
            if any(wider_window(job.call, station.facts) for station in up):
                return None  # what fits is known once the window has grown
            raise

    def _choice(self, job: Job) -> Choice:
        up = self.stations_up()
        fresh = [station for station in up if station.name not in job.tried]
        return choose([self._considered(job, station) for station in fresh or up])

    def _considered(self, job: Job, station: Station) -> Choice:
        """What serving the job there would mean."""
        comfort = self._comfort_tokens(job.call, station)
        prompt = self._composer.compose(job.call, job.kind, station.facts, comfort_tokens=comfort)
        call, estimate = prompt.call, station.estimate
        uncached = prompt.tokens - station.residency.lookup(prompt.prefix).cached_tokens
        output = estimate.output_tokens(job.kind, call.options.num_predict)
        order = Order(
            cost_s=estimate.cost_s(uncached, output),
            first_token_s=estimate.prefill_s(uncached),
            prefix=prompt.prefix,
            lane=call.lane,
            key=call.key,
            tenant=call.tenant,
            label=call.label or job.kind.value,
            deadline_s=call.deadline_s,
        )
        return Choice(station, order, prompt)

    def _comfort_tokens(self, call: Call, station: Station) -> float | None:
        """How long a prompt may be while others wait; None: as long as it likes."""
        if not (call.trim and call.conversation and len(station.queue)):
            return None
        doubled = station.estimate.context.doubled_at_tokens
        return None if doubled is None else COMFORT * doubled

    async def _served(self, job: Job, choice: Choice, relay: Relay) -> Timings:
        station, prompt = choice.station, choice.prompt
        await station.ready(prompt.call.model)
        with part("fluido.llm.wait", flow=station.name, lane=choice.order.lane.name.lower()):
            if job.place is not None:
                job.place.release()  # it becomes a place in line, or a seat, before anybody else runs
            seat = await station.admit(choice.order, had_place=job.place is not None)
        job.asked += 1
        try:
            if self._is_dear(prompt, seat, station):
                cold_tokens = self._cold_prefill_s * station.estimate.prefill_per_s
                prompt = self._composer.compose(job.call, job.kind, station.facts, cold_tokens=cold_tokens)
            job.sent = prompt
            with part("fluido.llm.answer", flow=station.name, kind=job.kind.value) as here:
                timings, text = await self._streamed(prompt, station, seat, relay)
                here.note(
                    prompt_tokens=timings.prompt_tokens,
                    output_tokens=timings.output_tokens,
                    finish_reason=timings.finish_reason,
                )
            seat.leaves = self._composer.answered(prompt, text)
        except FluidoError as error:
            crowded = isinstance(error, EngineBusy | WaitTimeout)
            seat.outcome = Outcome.OVERLOAD if crowded else Outcome.IGNORED
            station.health.failed(error)
            raise
        finally:
            station.release(seat)
        self._learn(job, prompt, station, seat, timings)
        waited_s = seat.started_s - job.came_s
        return replace(
            timings,
            queue_s=timings.queue_s + waited_s,
            ttft_s=timings.ttft_s + waited_s,
            total_s=self._clock() - job.came_s,
            engine=station.name,
            model=prompt.call.model,
            kind=job.kind,
            retries=job.retries,
            dropped_messages=prompt.dropped,
            notes=runner_notes(job.call.runner, station.facts.runner if station.facts else {}),
        )

    def _is_dear(self, prompt: Prompt, seat: Seat, station: Station) -> bool:
        """Whether a conversation lost its slot, and computing it again takes longer than it is worth."""
        call = prompt.call
        if not (call.trim and call.conversation and station.tells_residency) or seat.place.warm:
            return False
        uncached = prompt.tokens - seat.place.cached_tokens
        return station.estimate.prefill_s(uncached) > self._cold_prefill_s

    def _learn(self, job: Job, prompt: Prompt, station: Station, seat: Seat, timings: Timings) -> None:
        station.health.succeeded()
        cached = timings.cached_tokens
        if cached is None:
            computed = timings.prefill_s * station.estimate.prefill_per_s
            cached = max(0, timings.prompt_tokens - int(computed))
        expected = timings.prompt_tokens - seat.place.cached_tokens
        station.estimate.learn(timings, job.kind, expected, was_alone=not seat.shared)
        station.residency.learn(prompt.prefix, seat.place, cached)
        station.loader.served(prompt.call.model, timings.load_s)
        self._composer.learn(prompt, timings.prompt_tokens, station.facts)

    async def _streamed(
        self, prompt: Prompt, station: Station, seat: Seat, relay: Relay
    ) -> tuple[Timings, str]:
        loop = asyncio.get_running_loop()
        call = prompt.call
        given_s = patience_s = self._patience.for_first_token(seat.order.first_token_s)
        if call.deadline_s is not None:
            patience_s = min(patience_s, max(0.0, call.deadline_s - self._clock()))
        timings: Timings | None = None
        said: list[str] = []
        thought = False
        slot = seat.place.slot if station.residency.pins else None
        try:
            async with asyncio.timeout(patience_s) as guard:
                async with aclosing(station.engine.stream(call, slot=slot)) as upstream:
                    async for item in upstream:
                        if isinstance(item, Timings):
                            timings = item
                            continue
                        seat.prefilled = True
                        relay.put(item)
                        said.append(item.text)
                        if item.thinking and not thought:
                            thought = True
                            self._composer.thought(prompt, station.facts)
                        if relay.full:
                            guard.reschedule(None)
                            await relay.room(self._patience.slow_reader_s)
                            if not relay.readers:
                                raise StreamBroken("nobody reads this answer")
                        guard.reschedule(loop.time() + self._patience.gap_s)
        except TimeoutError as error:
            waited_s = self._clock() - seat.started_s
            if not relay.started and patience_s < given_s:
                raise WaitTimeout(f"no first token within {waited_s:.1f} s", waited_s=waited_s) from error
            raise StreamBroken(f"{station.name} went silent for {waited_s:.1f} s") from error
        except FluidoError:
            seat.refused = True
            raise
        if timings is None:
            raise StreamBroken(f"{station.name} ended without timings")
        seat.outcome = Outcome.OK
        seat.units = station.estimate.work(timings)
        hidden = station.facts is not None and station.facts.slots is None
        seat.crowded = hidden and timings.queue_s > CROWDED_S + CROWDED_SHARE * timings.total_s
        answer = "".join(said)
        if thought and not answer.strip():
            raise only_thoughts(timings)
        return timings, answer
