"""The door: a call goes in, deltas and one Timings come out."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Self

from fluido.errors import Closed, EngineUnavailable, FluidoError, WaitTimeout
from fluido.laws.base import Law
from fluido.llm.budget import Budget
from fluido.llm.call import Call, Delta, Kind, Timings
from fluido.llm.compose import Composer, Prompt
from fluido.llm.engine import Engine, EngineFacts
from fluido.llm.errors import CallRejected, EngineBusy, StreamBroken
from fluido.llm.kind import detect
from fluido.llm.presets import Bound, Presets
from fluido.llm.relay import Relay
from fluido.llm.station import Order, Seat, Station
from fluido.metrics import FlowStats
from fluido.sample import Outcome

ATTEMPTS = 2
COLD_PREFILL_S = 0.5
CROWDED_S = 0.05
CROWDED_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is believed, in seconds.

    `slow_reader_s` is how long a full reader may hold a generation.
    """

    first_token_s: float = 120.0
    gap_s: float = 15.0
    slow_reader_s: float = 10.0


@dataclass(frozen=True, slots=True)
class LlmStats:
    """The whole service at one moment: a flow per engine, and what answers take by kind."""

    flows: tuple[FlowStats, ...]
    engines: tuple[EngineFacts | None, ...]
    up: tuple[bool, ...]
    bounds: tuple[Bound, ...]
    answered: int
    failed: int
    retried: int
    live: int


@dataclass(slots=True)
class _Job:
    """A call on its way: what is really sent, and what was decided about it."""

    call: Call
    kind: Kind
    came_s: float
    retries: int = 0
    tried: set[str] = field(default_factory=set)


class Dispatcher:
    """Admits calls to engines, in the order of their worth, and streams what they answer.

    `law` makes the law of an engine's in-flight limit from its facts; the default finds the knee inside the
    slots (`Knee`). A conversation that lost its place in the engine is sent with as much history as can be
    computed again in `cold_prefill_s`, and grows from there. `max_waiting` bounds each engine's queue. Inert
    until `open`.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        model: str = "",
        law: Callable[[EngineFacts], Law] | None = None,
        max_waiting: int = 256,
        presets: Presets | None = None,
        budget: Budget | None = None,
        patience: Patience | None = None,
        cold_prefill_s: float = COLD_PREFILL_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not engines:
            raise ValueError("a dispatcher needs at least one engine")
        self.stations = tuple(
            Station(engine, model=model, law=law, max_waiting=max_waiting, clock=clock) for engine in engines
        )
        self.presets = presets or Presets()
        self._composer = Composer(self.presets, budget or Budget())
        self._cold_prefill_s = cold_prefill_s
        self._patience = patience or Patience()
        self._clock = clock
        self._pumps: set[asyncio.Task[None]] = set()
        self._opened = False
        self._answered = self._failed = self._retried = 0

    async def open(self) -> None:
        """Open every engine. One that is away does not fail this: it is waited for in the background."""
        if not self._opened:
            self._opened = True
            await asyncio.gather(*(station.open() for station in self.stations))

    async def close(self) -> None:
        """End every stream with Closed and let go of the engines. Idempotent."""
        self._opened = False
        pumps = tuple(self._pumps)
        for pump in pumps:
            pump.cancel()
        if pumps:
            await asyncio.wait(pumps)
        for station in self.stations:
            await station.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def stream(self, call: Call) -> AsyncGenerator[Delta | Timings, None]:
        """Answer `call`: deltas as they come, then one Timings.

        Close the generator (`contextlib.aclosing`) to stop: a waiting call leaves the queue, a running one is
        stopped at the engine. Raises CallRejected and its kinds (the call is wrong), LimitReached (refused at
        once, with the predicted wait), WaitTimeout (no first token before the deadline), EngineUnavailable,
        StreamBroken (broke off after the first token), BufferFull (read too slowly), Closed.
        """
        if not self._opened:
            raise Closed("the dispatcher is not open")
        job = self._prepared(call)
        relay = Relay()
        reader = relay.join()
        pump = asyncio.create_task(self._pump(job, relay), name="fluido-llm-call")
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        try:
            async with aclosing(reader.items()) as items:
                async for item in items:
                    yield item
        finally:
            reader.leave()
            if not relay.ended:
                pump.cancel()
            await asyncio.wait({pump})

    def _prepared(self, call: Call) -> _Job:
        if not call.messages:
            raise CallRejected("a call needs at least one message", field="messages")
        question = next((m.content for m in reversed(call.messages) if m.role == "user"), "")
        kind = call.kind or detect(question)
        return _Job(call, kind, self._clock())

    def _station(self, job: _Job) -> Station:
        """The engine to ask: of those that answer, one not tried before, with the least work before it."""
        up = [station for station in self.stations if station.health.up]
        if not up:
            raise self.stations[0].health.unavailable(self.stations[0].name)
        return min(up, key=lambda s: (s.name in job.tried, (s.inflight + len(s.queue)) / s.limit))

    async def _pump(self, job: _Job, relay: Relay) -> None:
        try:
            timings = await self._answered_once(job, relay)
        except FluidoError as error:
            self._failed += 1
            relay.fail(error)
        except asyncio.CancelledError:
            relay.fail(Closed("the dispatcher was closed"))
            raise
        except BaseException as error:
            relay.fail(error)
            raise
        else:
            self._answered += 1
            relay.finish(timings)

    async def _answered_once(self, job: _Job, relay: Relay) -> Timings:
        """Serve the job; once more, elsewhere if there is an elsewhere, while nobody has heard a word."""
        while True:
            station = self._station(job)
            try:
                return await self._served(job, station, relay)
            except EngineUnavailable:
                job.retries += 1
                job.tried.add(station.name)
                again = job.retries < ATTEMPTS and any(s.health.up for s in self.stations)
                if relay.started or not again:
                    raise
                self._retried += 1

    async def _served(self, job: _Job, station: Station, relay: Relay) -> Timings:
        prompt = self._composer.compose(job.call, job.kind, station.facts)
        seat = await station.admit(self._order(job, prompt, station))
        try:
            if job.call.trim and self._is_dear(prompt, seat, station):
                cold_tokens = self._cold_prefill_s * station.estimate.prefill_per_s
                prompt = self._composer.compose(job.call, job.kind, station.facts, cold_tokens=cold_tokens)
            timings, text = await self._streamed(prompt.call, station, seat, relay)
            seat.leaves = self._composer.answered(prompt, text)
        except FluidoError as error:
            seat.outcome = (
                Outcome.OVERLOAD if isinstance(error, EngineBusy | WaitTimeout) else Outcome.IGNORED
            )
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
            model=job.call.model or (station.facts.model if station.facts else ""),
            kind=job.kind,
            retries=job.retries,
            dropped_messages=prompt.dropped,
        )

    def _order(self, job: _Job, prompt: Prompt, station: Station) -> Order:
        call, estimate = prompt.call, station.estimate
        uncached = prompt.tokens - station.residency.lookup(prompt.prefix).cached_tokens
        output = estimate.output_tokens(job.kind, call.options.num_predict)
        return Order(
            cost_s=estimate.cost_s(uncached, output),
            first_token_s=estimate.prefill_s(uncached),
            prefix=prompt.prefix,
            lane=call.lane,
            key=call.key,
            label=call.label or job.kind.value,
            deadline_s=call.deadline_s,
        )

    def _is_dear(self, prompt: Prompt, seat: Seat, station: Station) -> bool:
        """Whether a conversation lost its slot, and computing it again takes longer than it is worth."""
        if not prompt.call.conversation or seat.place.warm or not station.tells_residency:
            return False
        uncached = prompt.tokens - seat.place.cached_tokens
        return station.estimate.prefill_s(uncached) > self._cold_prefill_s

    def _learn(self, job: _Job, prompt: Prompt, station: Station, seat: Seat, timings: Timings) -> None:
        station.health.succeeded()
        cached = timings.cached_tokens
        if cached is None:
            computed = timings.prefill_s * station.estimate.prefill_per_s
            cached = max(0, timings.prompt_tokens - int(computed))
        station.estimate.learn(timings, job.kind, timings.prompt_tokens - seat.place.cached_tokens)
        station.residency.learn(prompt.prefix, seat.place, cached)
        self._composer.learn(prompt, timings.prompt_tokens)
        self.presets.learn(job.kind, timings.output_tokens, timings.finish_reason)

    async def _streamed(self, call: Call, station: Station, seat: Seat, relay: Relay) -> tuple[Timings, str]:
        loop = asyncio.get_running_loop()
        patience_s = self._patience.first_token_s
        if call.deadline_s is not None:
            patience_s = min(patience_s, max(0.0, call.deadline_s - self._clock()))
        timings: Timings | None = None
        said: list[str] = []
        slot = seat.place.slot if station.residency.pins else None
        try:
            async with asyncio.timeout(patience_s) as guard:
                async with aclosing(station.engine.stream(call, slot=slot)) as upstream:
                    async for item in upstream:
                        if isinstance(item, Timings):
                            timings = item
                            continue
                        relay.put(item)
                        said.append(item.text)
                        if relay.full:
                            guard.reschedule(None)
                            await relay.room(self._patience.slow_reader_s)
                            if not relay.readers:
                                raise StreamBroken("nobody reads this answer")
                        guard.reschedule(loop.time() + self._patience.gap_s)
        except TimeoutError as error:
            waited_s = self._clock() - seat.started_s
            if not relay.started and patience_s < self._patience.first_token_s:
                raise WaitTimeout(f"no first token within {waited_s:.1f} s", waited_s=waited_s) from error
            raise StreamBroken(f"{station.name} went silent for {waited_s:.1f} s") from error
        if timings is None:
            raise StreamBroken(f"{station.name} ended without timings")
        seat.outcome = Outcome.OK
        seat.units = station.estimate.work(timings)
        seat.crowded = station.hides_slots and timings.queue_s > CROWDED_S + CROWDED_SHARE * timings.total_s
        return timings, "".join(said)

    def flows(self) -> tuple[Station, ...]:
        """One flow per engine, each with `stats()`, `pin` and `unpin`."""
        return self.stations

    def stats(self) -> LlmStats:
        """Every figure at this moment."""
        return LlmStats(
            flows=tuple(station.stats() for station in self.stations),
            engines=tuple(station.facts for station in self.stations),
            up=tuple(station.health.up for station in self.stations),
            bounds=tuple(self.presets.bound(kind) for kind in Kind),
            answered=self._answered,
            failed=self._failed,
            retried=self._retried,
            live=len(self._pumps),
        )
