"""The door: a call goes in, deltas and one Timings come out."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Self

from fluido._metrics import FlowStats
from fluido.errors import Closed, FluidoError, WaitTimeout
from fluido.laws._base import Law
from fluido.laws._engine_limit import UNKNOWN_CEILING
from fluido.laws._fixed import Fixed
from fluido.llm._answers import Answers
from fluido.llm._call import Call, Delta, Timings
from fluido.llm._engine import Engine, EngineFacts
from fluido.llm._errors import CallRejected
from fluido.llm._job import Job
from fluido.llm._relay import Relay
from fluido.llm._serving import Serving
from fluido.llm._silence import Patience
from fluido.llm.admission import Reservation, ResidencyStats, Station, adapting
from fluido.llm.prompt import Budget, Composer, Presets, detect

COLD_PREFILL_S = 0.5
DEADLINE_GRACE_S = 0.05
MAX_WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class LlmStats:
    """The whole service at one moment: a flow per engine, and what became of the calls."""

    flows: tuple[FlowStats, ...]
    engines: tuple[EngineFacts | None, ...]
    up: tuple[bool, ...]
    answered: int
    failed: int
    retried: int
    waiting_for_engine: int
    live: int
    answers_kept: int
    answers_given_again: int
    answers_joined: int
    residency: tuple[ResidencyStats, ...]


@dataclass(frozen=True, slots=True)
class _Flight:
    """One generation, the job that began it and the task that feeds it."""

    job: Job
    relay: Relay
    pump: "asyncio.Task[None]"


class Dispatcher:
    """Admits calls to engines, in the order of their worth, and streams what they answer.

    How many are in flight is found, at most `most` (`EngineLimit`); `slots` fixes it, `law` makes another.
    A conversation that lost its place is sent with as much history as can be computed again in
    `cold_prefill_s`, shared with all who wait; never less than the last exchanges. `max_waiting` bounds each
    queue, `max_wait_s` the wait of a call without a deadline; `make_station` makes the queues.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        model: str = "",
        law: Callable[[EngineFacts], Law] | None = None,
        slots: int | None = None,
        most: int = UNKNOWN_CEILING,
        max_waiting: int = 256,
        presets: Presets | None = None,
        budget: Budget | None = None,
        patience: Patience | None = None,
        answers: Answers | None = None,
        cold_prefill_s: float = COLD_PREFILL_S,
        max_wait_s: float = MAX_WAIT_S,
        make_station: Callable[..., Station] = Station,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.stations = tuple(
            make_station(engine, model=model, law=make, max_waiting=max_waiting, clock=clock)
            for engine, make in _limited(engines, law, slots, most)
        )
        self.presets = presets or Presets()
        self._composer = Composer(self.presets, budget or Budget())
        self._serving = Serving(
            self.stations, self._composer, patience or Patience(), cold_prefill_s=cold_prefill_s, clock=clock
        )
        self.answers = answers or Answers(clock=clock)
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._live: set[asyncio.Task[None]] = set()
        self._flights: dict[bytes, _Flight] = {}
        self._opened = False
        self._opening: asyncio.Task[None] | None = None
        self._answered = self._failed = 0

    async def open(self) -> None:
        """Open every engine, once, whoever asks. One that is away is waited for in the background."""
        if self._opening is None:
            self._opened = True
            self._opening = asyncio.create_task(self._open_all(), name="fluido-llm-open")
        await asyncio.shield(self._opening)

    async def _open_all(self) -> None:
        await asyncio.gather(*(station.open() for station in self.stations))

    async def close(self) -> None:
        """End every stream with Closed and let go of the engines. Idempotent."""
        self._opened = False
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait({opening})
        pumps = tuple(self._live)
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

    async def stream(
        self, call: Call, *, place: Reservation | None = None
    ) -> AsyncGenerator[Delta | Timings, None]:
        """Answer `call`: deltas as they come, then one Timings. `place` is what `reserve` gave for it.

        Close the generator (`contextlib.aclosing`) to stop: a waiting call leaves the queue, a running one is
        stopped at the engine. Raises CallRejected and its kinds (the call is wrong), LimitReached (refused at
        once, with the predicted wait), WaitTimeout (no first token before the deadline), EngineUnavailable,
        StreamBroken (broke off after the first token), BufferFull (read too slowly), Closed.
        """
        if not self._opened:
            raise Closed("the dispatcher is not open")
        job = self._job(call)
        job.place = place
        key = self._key(job)
        known = None if key is None else self.answers.get(key)
        if known is not None:
            yield known.delta
            yield self._replayed(known.timings, job, job.came_s)
            return
        flight = self._flight(job, key)
        reader = flight.relay.join()
        first_s = None
        try:
            async with aclosing(self._in_time(reader.items(), job.call.deadline_s)) as items:
                async for item in items:
                    first_s = self._clock() if first_s is None else first_s
                    if isinstance(item, Timings) and flight.job is not job:
                        item = self._replayed(item, job, first_s)  # noqa: PLW2901  (told as the joiner saw it)
                    yield item
        finally:
            reader.leave()
            if flight.relay.readers == 0:
                if not flight.relay.ended:
                    flight.pump.cancel()
                await asyncio.wait({flight.pump})

    def _job(self, call: Call) -> Job:
        if not call.messages:
            raise CallRejected("a call needs at least one message", field="messages")
        question = next((m.content for m in reversed(call.messages) if m.role == "user"), "")
        now_s = self._clock()
        is_patient = call.deadline_s is not None
        if not is_patient:
            call = replace(call, deadline_s=now_s + self._max_wait_s)
        return Job(call, call.kind or detect(question), now_s, is_patient)

    def check_up(self) -> None:
        """Raise EngineUnavailable when no engine answers."""
        self._serving.stations_up()

    def check_room(self, call: Call) -> None:
        """Raise what `stream` would raise at once for `call`, and ask nobody.

        EngineUnavailable, LimitReached with the predicted wait, CallRejected and its kinds. A caller who has
        to pay for a call before it is sent asks this first.
        """
        if not self._opened:
            raise Closed("the dispatcher is not open")
        self._serving.check_room(self._job(call))

    def reserve(self, call: Call) -> Reservation:
        """Take a place in the queue for a call that still costs its caller something, and ask nobody.

        Raises what `check_room` does. The call itself may be composed otherwise when it is streamed with this
        place: it is not refused for want of room any more, only at its deadline or when the engines go.
        `release` the place in any case.
        """
        if not self._opened:
            raise Closed("the dispatcher is not open")
        return self._serving.reserve(self._job(call))

    def _key(self, job: Job) -> bytes | None:
        facts = next((s.facts for s in self.stations if s.health.up and s.facts), None)
        options = self._composer.options(job.call, job.kind, facts)
        return self.answers.key(replace(job.call, options=options), facts)

    def _flight(self, job: Job, key: bytes | None) -> "_Flight":
        """The generation to listen to: one under way for the same question, else a new one."""
        shared = None if key is None else self._flights.get(key)
        if shared is not None and not shared.relay.ended and shared.job.call.lane <= job.call.lane:
            self.answers.joined += 1
            return shared
        relay = Relay(replay=key is not None)
        pump = asyncio.create_task(self._pump(job, relay, key), name="fluido-llm-call")
        flight = _Flight(job, relay, pump)
        self._live.add(pump)
        if key is not None:
            self._flights[key] = flight
        pump.add_done_callback(lambda _: self._landed(flight, key))
        return flight

    def _landed(self, flight: "_Flight", key: bytes | None) -> None:
        self._live.discard(flight.pump)
        if key is not None and self._flights.get(key) is flight:
            del self._flights[key]

    async def _in_time(
        self, items: AsyncGenerator[Delta | Timings, None], deadline_s: float | None
    ) -> AsyncGenerator[Delta | Timings, None]:
        """`items`, the first of which must come before `deadline_s`; who joins has a deadline of his own."""
        async with aclosing(items):
            if deadline_s is not None:
                began_s = self._clock()
                try:
                    async with asyncio.timeout(max(0.0, deadline_s - began_s) + DEADLINE_GRACE_S):
                        first = await anext(items)
                except TimeoutError as error:
                    if isinstance(error, WaitTimeout):
                        raise
                    waited_s = self._clock() - began_s
                    raise WaitTimeout(f"no first token within {waited_s:.1f} s", waited_s=waited_s) from error
                yield first
            async for item in items:
                yield item

    def _replayed(self, timings: Timings, job: Job, first_s: float) -> Timings:
        """The timings of work that was done for another call, as this one saw it."""
        now_s = self._clock()
        return replace(
            timings,
            queue_s=first_s - job.came_s,
            load_s=0.0,
            prefill_s=0.0,
            decode_s=now_s - first_s,
            ttft_s=first_s - job.came_s,
            total_s=now_s - job.came_s,
            kind=job.kind,
            replayed=True,
        )

    async def _pump(self, job: Job, relay: Relay, key: bytes | None) -> None:
        try:
            timings = await self._serving.serve(job, relay)
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
            if key is not None:
                self.answers.put(key, relay.whole(), timings)

    def flows(self) -> tuple[Station, ...]:
        """One flow per engine, each with `stats()`, `pin` and `unpin`."""
        return self.stations

    def stats(self) -> LlmStats:
        """Every figure at this moment."""
        return LlmStats(
            flows=tuple(station.stats() for station in self.stations),
            engines=tuple(station.facts for station in self.stations),
            up=tuple(station.health.up for station in self.stations),
            answered=self._answered,
            failed=self._failed,
            retried=self._serving.retried,
            waiting_for_engine=self._serving.comeback.waiting,
            live=len(self._live),
            answers_kept=len(self.answers),
            answers_given_again=self.answers.hits,
            answers_joined=self.answers.joined,
            residency=tuple(station.residency_stats() for station in self.stations),
        )


def _limited(
    engines: Sequence[Engine], law: Callable[[EngineFacts], Law] | None, slots: int | None, most: int
) -> Iterator[tuple[Engine, Callable[[EngineFacts], Law]]]:
    """Each engine, and what makes the law of its in-flight limit."""
    if not engines:
        raise ValueError("a dispatcher needs at least one engine")
    if slots is not None and (law is not None or slots < 1):
        raise ValueError("slots= fixes the limit of at least 1 call: give it without law=")

    def fixed(facts: EngineFacts) -> Law:
        return Fixed(min(slots or 1, facts.slots or slots or 1))

    for engine in engines:
        name = engine.name

        def found(facts: EngineFacts, name: str = name) -> Law:
            return adapting(facts, most=most, key=name)

        yield engine, law or (found if slots is None else fixed)
