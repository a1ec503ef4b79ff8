"""One call from the queue to its last token.

Choose an engine, wait, stream, learn; again if nobody heard a word.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from fluido._sample import Outcome
from fluido.errors import EngineUnavailable, FluidoError, LimitReached, WaitTimeout
from fluido.flow._spans import part
from fluido.llm._attempt import Attempt
from fluido.llm._call import Call, Kind, Timings
from fluido.llm._comeback import Comeback
from fluido.llm._engine import refuse_other_runner, wider_window
from fluido.llm._errors import (
    CacheFull,
    CallFailed,
    CallRejected,
    EmptyAnswer,
    EngineBusy,
    ModelMissing,
    PromptTooLong,
    StreamBroken,
    Unreached,
)
from fluido.llm._job import Job
from fluido.llm._profile import runner_notes
from fluido.llm._relay import Relay
from fluido.llm._retry import ATTEMPTS, again_after_s
from fluido.llm._route import Choice, choose, may_flee, may_move, others
from fluido.llm._silence import Patience
from fluido.llm.admission import Demand, Reservation, Seat, Station
from fluido.llm.prompt import Composer, Prompt

SHORTENED = 3
COMFORT = 1.5
GUESSED = 2


class Serving:
    """Serves jobs on stations. `cold_prefill_s`: so much computing is a lost conversation's history worth.

    That is the time of everybody whom it costs: who asks, and all who wait behind. So a history that nobody
    waits for comes whole, and under load a lost one is sent as a plain sliding window would send it
    (`LAST_MESSAGES`), which costs the engine what such a window costs it.
    """

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
        self.comeback = Comeback(stations, return_s=patience.return_s, clock=clock)
        self.retried = 0

    async def serve(self, job: Job, relay: Relay) -> Timings:
        """The whole way. Tries again, elsewhere if there is an elsewhere, while nobody has heard a word."""
        try:
            return await self._serve(job, relay)
        finally:
            if job.place is not None:
                job.place.release()

    async def _serve(self, job: Job, relay: Relay) -> Timings:
        await self.comeback.wait(job)
        if job.call.runner:
            await self._hear(job.call)
        while True:
            await self._ask_for_missing(job)
            choice = self._choice(job)
            job.in_hand = False
            try:
                timings = await self._served(job, choice, relay)
            except EngineUnavailable as error:
                if relay.started and isinstance(error, CacheFull):
                    raise StreamBroken(str(error), told=True) from error
                if relay.started or not await self._again(job, choice.station, error):
                    raise
            except CallRejected as error:
                if relay.started or not self._elsewhere(job, choice, error):
                    raise
            else:
                for station in self._stations:
                    if station.name in job.refusals:
                        station.health.outdone()
                return timings

    async def _again(self, job: Job, station: Station, error: EngineUnavailable) -> bool:
        """An engine failed before a word was heard: whether the call is tried once more."""
        job.retries += 1
        job.tried.add(station.name)
        able = list(others(self._stations, job, station))
        pause_s = again_after_s(
            job,
            error,
            elsewhere=job.asked < ATTEMPTS and bool(able),
            fresh=any(other.name not in job.tried for other in able),
            is_shared=job.is_shared,
            left_s=self._left_s(job),
        )
        if pause_s is None or not await self.comeback.wait(job):
            return False
        self.retried += 1
        if pause_s:
            await asyncio.sleep(pause_s)
        return True

    def _left_s(self, job: Job) -> float:
        deadline_s = job.call.deadline_s
        return math.inf if deadline_s is None else deadline_s - self._clock()

    def _elsewhere(self, job: Job, choice: Choice, error: CallRejected) -> bool:
        """An engine refused the call: whether it is tried once more, shorter or at an engine not asked yet.

        What the call itself has wrong, every engine says quickly; what one engine lacks, the next may have.
        """
        if isinstance(error, PromptTooLong) and job.call.trim and self._shorter(job, choice, error):
            # The engine counts better than we do: again, with what it told learned.
            job.shortened += 1
            return True
        job.refusals[choice.station.name] = error
        others = [s for s in self._stations if s.health.up and s.name not in job.refusals]
        if error.status is None or not others:
            if len(job.refusals) > 1:
                raise next(iter(job.refusals.values()))
            return False
        job.retries += 1
        self.retried += 1
        return True

    async def _ask_for_missing(self, job: Job) -> None:
        """Models that engines lacked are asked for again now and then, and at once where nobody has one."""
        lacking = [s for s in self._stations if s.health.up and s.missing(job.call.model) is not None]
        nobody = len(lacking) == sum(station.health.up for station in self._stations)
        for station in lacking:
            name = station.facts.named(job.call.model) if station.facts else job.call.model
            if (nobody and station.name not in job.refusals) or station.lacks.due(name):
                await station.ask_for(name)

    def _shorter(self, job: Job, choice: Choice, error: PromptTooLong) -> bool:
        """Learn from the refusal; whether the next prompt would be another one."""
        facts = choice.station.facts
        prompt = job.sent or choice.prompt
        self._composer.outgrown(prompt, error, facts)
        again = self._composer.compose(job.call, job.kind, facts).call
        refused = prompt.call
        is_other = (again.messages, again.options) != (refused.messages, refused.options)
        return is_other and job.shortened < SHORTENED

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
        """The engines that answer. Raises EngineUnavailable when none does, ModelMissing when none has it."""
        up = [station for station in self._stations if station.health.up]
        if not up:
            reasons = [station.health.unavailable() for station in self._stations]
            raise next((error for error in reasons if not isinstance(error, CallRejected)), reasons[0])
        return up

    def check_room(self, job: Job) -> None:
        """Raise what the engine that would be chosen now would raise at once."""
        choice = self._room(job)
        if choice is not None:
            choice.station.check(choice.demand)

    def reserve(self, job: Job) -> Reservation:
        """Hold a place at the engine that would be chosen now; raises what `check_room` does."""
        choice = self._room(job)
        if choice is not None:
            return choice.station.reserve(choice.demand)
        queue = self._stations[0].queue
        if not queue.takes(job.call.lane):
            raise LimitReached("the queue is full", waiting=len(queue))
        return queue.reserve(0.0)

    def _room(self, job: Job) -> Choice | None:
        """The choice that would be made now; None when it is not known yet. Raises what is certain."""
        if self.comeback.is_open(job):
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
        """The engine for the job, among those that have its model and did not refuse it."""
        up = self.stations_up()
        able = [station for station in up if station.name not in job.refusals]
        having = [station for station in able if station.missing(job.call.model) is None]
        if not having:
            missing = (station.missing(job.call.model) for station in able)
            raise next((error for error in missing if error is not None), None) or next(
                iter(job.refusals.values())
            )
        fresh = [station for station in having if station.name not in job.tried]
        choices, refused = [], None
        for station in fresh or having:
            try:
                choices.append(self._considered(job, station))
            except PromptTooLong as error:  # its window is too small, another's may not be
                refused = refused or error
        if not choices and refused is not None:
            raise refused
        return choose(choices)

    def _considered(self, job: Job, station: Station) -> Choice:
        """What serving the job there would mean."""
        comfort = self._comfort_tokens(job.call, station)
        prompt = self._composer.compose(job.call, job.kind, station.facts, comfort_tokens=comfort)
        call, estimate = prompt.call, station.estimate
        uncached = prompt.tokens - station.residency.lookup(prompt.prefix).cached_tokens
        output = estimate.output_tokens(job.kind, call.options.num_predict)
        demand = Demand(
            cost_s=estimate.cost_s(uncached, output),
            first_token_s=estimate.seen_prefill_s(uncached),
            prefix=prompt.prefix,
            lane=call.lane,
            key=call.key,
            tenant=call.tenant,
            label=call.label or job.kind.value,
            # before the engine has counted some prompts, ours may be short by half
            tokens=prompt.tokens * (GUESSED if estimate.is_a_guess else 1) + int(output),
            deadline_s=call.deadline_s,
        )
        return Choice(station, demand, prompt)

    def _comfort_tokens(self, call: Call, station: Station) -> float | None:
        """How long a prompt may be while others wait; None: as long as it likes."""
        if not (call.trim and call.conversation and len(station.queue)):
            return None
        doubled = station.estimate.context.doubled_at_tokens
        return None if doubled is None else COMFORT * doubled

    async def _served(self, job: Job, choice: Choice, relay: Relay) -> Timings:
        station, prompt = choice.station, choice.prompt
        try:
            await station.ready(prompt.call.model, self._needs_tokens(choice))
        except ModelMissing as error:
            station.lacks.note(prompt.call.model, error)
            raise
        except EngineUnavailable as error:  # it could not be loaded: an attempt like any other
            job.asked += 1
            job.in_hand, job.is_shared = True, False
            station.health.failed(error, _caller(job))
            raise
        with part("fluido.llm.wait", flow=station.name, lane=choice.demand.lane.name.lower()):
            if job.place is not None:
                job.place.release()  # it becomes a place in line, or a seat, before anybody else runs
            seat = await station.admit(choice.demand, had_place=job.place is not None)
        job.asked += 1
        sent_s = self._clock()
        try:
            if self._is_dear(prompt, seat, station):
                cold_tokens = self._worth_s(station) * station.estimate.prefill_per_s
                prompt = self._composer.compose(job.call, job.kind, station.facts, cold_tokens=cold_tokens)
            job.sent = prompt
            with part("fluido.llm.answer", flow=station.name, kind=job.kind.value) as here:
                attempt = Attempt(
                    prompt,
                    station,
                    seat,
                    relay,
                    composer=self._composer,
                    patience=self._patience,
                    clock=self._clock,
                )
                timings, text = await attempt.run(
                    moves_on=lambda: may_move(
                        self._stations, job, choice, self._clock() - sent_s, self._left_s(job)
                    ),
                    flees=lambda: may_flee(self._stations, job, choice, self._left_s(job)),
                )
                here.note(
                    prompt_tokens=timings.prompt_tokens,
                    output_tokens=timings.output_tokens,
                    finish_reason=timings.finish_reason,
                )
            seat.leaves = self._composer.answered(prompt, text)
        except asyncio.CancelledError:
            if seat.prefilled:  # the reader left: what was computed of the prompt stays where it is
                seat.leaves = prompt.prefix
            raise
        except FluidoError as error:
            self._failed(job, prompt, station, seat, error)
            raise
        finally:
            station.release(seat)
        station.slots.find(seat, timings.prompt_tokens, timings.output_tokens)
        self._learn(job, prompt, station, seat, timings)
        waited_s = sent_s - job.came_s
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
            notes=_notes(job, station),
        )

    def _needs_tokens(self, choice: Choice) -> int:
        """The window that the call needs: its prompt, and an answer that may be twice what is expected."""
        call, prompt_tokens = choice.prompt.call, choice.prompt.tokens
        answer = choice.station.estimate.output_tokens(call.kind or Kind.MEDIUM, call.options.num_predict)
        return prompt_tokens + max(call.options.num_predict or 0, int(2 * answer))

    def _failed(self, job: Job, prompt: Prompt, station: Station, seat: Seat, error: FluidoError) -> None:
        """What a failed call says, about itself or about the engine."""
        crowded = isinstance(error, EngineBusy | WaitTimeout)
        seat.outcome = Outcome.OVERLOAD if crowded else Outcome.IGNORED
        is_refusal = isinstance(error, CallRejected | EngineBusy | Unreached)
        seat.unbegun = is_refusal and not seat.prefilled and not isinstance(error, CallFailed | CacheFull)
        if isinstance(error, EmptyAnswer):
            seat.leaves = prompt.prefix
        if isinstance(error, CacheFull):
            station.slots.overflowed()
        elif isinstance(error, ModelMissing):
            station.lacks.note(prompt.call.model, error)
        job.in_hand, job.is_shared = True, seat.shared
        station.health.failed(error, _caller(job))

    def _is_dear(self, prompt: Prompt, seat: Seat, station: Station) -> bool:
        """Whether a conversation lost its slot, and computing it again takes longer than it is worth."""
        call = prompt.call
        if not (call.trim and call.conversation and station.tells_residency) or seat.place.warm:
            return False
        uncached = prompt.tokens - seat.place.cached_tokens
        return station.estimate.prefill_s(uncached) > self._worth_s(station)

    def _worth_s(self, station: Station) -> float:
        """Seconds of computing again that a lost history is worth now, shared with all who wait for them."""
        return self._cold_prefill_s / (1 + len(station.queue))

    def _learn(self, job: Job, prompt: Prompt, station: Station, seat: Seat, timings: Timings) -> None:
        station.health.succeeded()
        station.slots.purse.served()
        station.learn(seat, timings, job.kind)
        station.loader.served(prompt.call.model, timings.load_s)
        self._composer.learn(prompt, timings.prompt_tokens, station.facts)


def _caller(job: Job) -> object:
    """Whose call it is, where that is known: one caller's errors in a row say little of an engine."""
    call = job.call
    return (call.tenant, call.key or call.conversation) if call.key or call.conversation else id(job)


def _notes(job: Job, station: Station) -> tuple[str, ...]:
    """What the caller is told besides: options that were not sent, and a wait for an engine."""
    notes = runner_notes(job.call.runner, station.facts.runner if station.facts else {})
    return (*notes, f"waited {job.away_s:.1f} s for an engine that was away") if job.away_s else notes
