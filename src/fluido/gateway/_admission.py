"""Admission control for opaque calls: a weight in, a permit on one engine out; the bytes are the caller's.

A flow is a `fluido.llm` station for one model of one engine: its queue, in-flight limit, estimates, prefix
index and health are that of the library. What the models of one engine share is here: turns, and its death.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence

from fluido._sample import Outcome
from fluido.errors import EngineUnavailable, FluidoError, LimitReached, WaitTimeout
from fluido.gateway._comeback import Comeback
from fluido.gateway._discovery import Directory, Engine
from fluido.gateway._flow import Flow, Permit, Wanted
from fluido.gateway._shared import Shared
from fluido.gateway._turns import Turns
from fluido.llm import Kind, OllamaEngine, OpenAIEngine, Timings, Wishes
from fluido.llm._engine import Engine as LlmEngine
from fluido.llm._errors import CacheFull, EngineBusy, Unreached
from fluido.llm._silence import Patience
from fluido.llm.admission import Demand

FLOWS_KEPT = 64
WARMED = 4
RETURN_S = Patience().return_s


class Admission:
    """The queues of all engines of a directory. `is_open`: everybody is let in at once, and only counted."""

    def __init__(
        self,
        directory: Directory,
        *,
        wishes: Wishes = Wishes.RESIDENT,
        most_context_tokens: int | None = None,
        max_waiting: int = 2000,
        is_open: bool = False,
        return_s: float = RETURN_S,
        shared: Shared | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._directory = directory
        self.comeback = Comeback(directory, return_s=return_s, max_waiting=max_waiting, clock=clock)
        self._wishes = wishes
        self._most_context_tokens = most_context_tokens
        self._max_waiting = max_waiting
        self._is_open = is_open
        self._shared = shared or Shared()
        self._clock = clock
        self._flows: dict[tuple[str, str], Flow] = {}
        self._opening: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._turns: dict[str, Turns] = {}
        self._used_s: dict[tuple[str, str], float] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def flows(self) -> tuple[Flow, ...]:
        """Every queue there is, for figures."""
        return tuple(self._flows.values())

    async def close(self) -> None:
        """Refuse who waits, let go of the engines. Idempotent."""
        for turns in self._turns.values():
            await turns.close()
        flows, self._flows = self._flows, {}
        for flow in flows.values():
            if flow in self._shared:
                flow.turns = None
                flow.let_go()
            else:
                await flow.close()
        if self._closing:
            await asyncio.wait(self._closing)

    async def warm(self) -> None:
        """Ask the engines about the models that they hold, so that the first call need not."""
        held = [
            (engine, model) for engine in self._directory.engines for model in [*engine.resident][:WARMED]
        ]
        await asyncio.gather(*(self.flow(engine, model) for engine, model in held))

    async def flow(self, engine: Engine, model: str) -> Flow:
        """The queue of a model on an engine, which was asked about it."""
        name = (engine.url, model)
        self._used_s[name] = self._clock()
        flow = self._flows.get(name)
        if flow is None and (flow := self._shared.flow(engine, model)) is not None:
            self._flows[name] = flow
        elif flow is None:
            flow = self._flows[name] = self._made(engine, model)
            self._opening[name] = asyncio.create_task(flow.open(), name="fluido-gateway-open")
            self._opening[name].add_done_callback(lambda _: self._opening.pop(name, None))
            self._forget_one()
        if (opening := self._opening.get(name)) is not None:
            await asyncio.shield(opening)
        # also for who came after the opening and before those who waited for it, and after an absence
        self._place_in_turns(engine, flow)
        return flow

    def _made(self, engine: Engine, model: str) -> Flow:
        llm: LlmEngine
        if engine.api == "ollama":
            llm = OllamaEngine(
                engine.url,
                name=engine.name,
                model=model,
                slots=engine.slots,
                headers=engine.headers,
                wishes=self._wishes,
                most_context_tokens=self._most_context_tokens,
            )
        else:
            llm = OpenAIEngine(
                engine.url, name=engine.name, model=model, slots=engine.slots, headers=engine.headers
            )
        return Flow(engine, llm, model, max_waiting=self._max_waiting, is_open=self._is_open)

    def _place_in_turns(self, engine: Engine, flow: Flow) -> None:
        if self._is_open or flow.turns is not None or flow.facts is None or not flow.facts.loads:
            return
        flow.turns = self._turns.setdefault(engine.url, Turns(lambda: self._resident(engine)))
        if flow.loader.resident(flow.named):
            flow.turns.is_loaded(flow)
        flow.checked_s = self._clock()

    async def _resident(self, engine: Engine) -> frozenset[str] | None:
        await self._directory.look_anew(engine)
        return frozenset(engine.resident) if engine.is_up else None

    def _forget_one(self) -> None:
        """Over the bound the queue goes that was not used for longest, and holds nobody."""
        if len(self._flows) <= FLOWS_KEPT:
            return
        for name in sorted(self._flows, key=lambda each: self._used_s.get(each, 0.0)):
            flow = self._flows[name]
            if not (flow.inflight or flow.waiting or name in self._opening or flow in self._shared):
                del self._flows[name]
                self._used_s.pop(name, None)
                if flow.turns is not None:
                    flow.turns.lost(flow)
                task = asyncio.create_task(flow.close(), name="fluido-gateway-close")
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
                return

    async def permit(self, wanted: Wanted, *, tried: Collection[str] = ()) -> Permit:
        """Choose the engine whose first token should come first, and wait there for a permit.

        Engines in `tried` are asked only where there is no other. Raises ModelMissing, EngineUnavailable,
        LimitReached (with the predicted wait), WaitTimeout, Closed.
        """
        while True:
            flow, order = self._chosen(await self._answering(wanted), wanted, tried)
            if wanted.window_tokens and self._wishes is Wishes.PLANNED and flow.facts is not None:
                now, most = flow.facts.context_tokens, flow.facts.most_context_tokens
                await flow.loader.widen(flow.named, wanted.window_tokens, now, most)
            if flow.turns is not None:
                await flow.ready(flow.named, order.tokens)
                self._check_deadline(flow, flow.turns, order)
            try:
                seat = await flow.seat(wanted, order)
            except EngineUnavailable:
                if flow.is_ready:
                    raise
                continue  # it died while the call stood in line: it was given nothing
            return Permit(flow, seat, wanted)

    def _chosen(self, up: Sequence[Flow], wanted: Wanted, tried: Collection[str]) -> tuple[Flow, Demand]:
        fresh = [flow for flow in up if flow.name not in tried] or up
        orders = [(flow, flow.order(wanted)) for flow in fresh]
        return orders[0] if len(orders) == 1 else min(orders, key=_first_token_s)

    async def _answering(self, wanted: Wanted) -> Sequence[Flow]:
        """The queues of a model at the engines that answer, after having waited for one that is away."""
        began_s = self._clock()
        while True:
            try:
                model, engines = self._directory.resolve(wanted.model)
            except EngineUnavailable:
                if self._is_open or not await self.comeback.found(wanted, began_s):
                    raise
                continue
            if len(engines) == 1:
                flows = [await self.flow(engines[0], model)]
            else:
                flows = await asyncio.gather(*(self.flow(engine, model) for engine in engines))
            if up := [flow for flow in flows if flow.is_ready] or await self._asked_again(flows):
                return up
            if self._is_open or not await self.comeback.back(flows, wanted, began_s):
                raise flows[0].unavailable()

    async def _asked_again(self, flows: Sequence[Flow]) -> list[Flow]:
        """Nobody answers: a connection that was reset is no engine that died, so it is asked once more."""
        looks = {asyncio.ensure_future(flow.health.looked()) for flow in flows}
        try:
            await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for look in looks:
                look.cancel()
        return [flow for flow in flows if flow.is_ready]

    def _check_deadline(self, flow: Flow, turns: Turns, order: Demand) -> None:
        """Refuse who cannot be served in time because another model has the engine."""
        if order.deadline_s is None or turns.plays(flow) or not flow.loader.loads:
            return
        wait_s = turns.price_s(flow) + flow.predicted_wait_s(order)
        if self._clock() + wait_s + order.first_token_s > order.deadline_s:
            raise LimitReached(
                f"{flow.model} has to be loaded first: about {wait_s:.1f} s, later than the deadline",
                waiting=flow.waiting,
                predicted_wait_s=wait_s,
                retry_after_s=wait_s,
            )

    def has_other(self, wanted: Wanted, tried: Collection[str]) -> bool:
        """Whether an engine has the model that was not tried, and is not known to be down."""
        try:
            model, engines = self._directory.resolve(wanted.model)
        except FluidoError:
            return False
        flows = (self._flows.get((engine.url, model)) for engine in engines if engine.name not in tried)
        return any(flow is None or flow.health.up for flow in flows)

    def has_idle(self, permit: Permit, tried: Collection[str]) -> bool:
        """Whether another engine would begin at once with a call whose first token is late."""
        return any(not other.inflight and not other.waiting for other in self._others(permit, tried))

    def has_room(self, permit: Permit, tried: Collection[str]) -> bool:
        """Whether another engine could answer in time a call whose own answers no question."""
        deadline_s = permit.seat.demand.deadline_s
        left_s = math.inf if deadline_s is None else deadline_s - self._clock()
        return any(
            other.estimate.is_a_guess or other.predicted_wait_s(permit.seat.demand) <= left_s
            for other in self._others(permit, tried)
        )

    def _others(self, permit: Permit, tried: Collection[str]) -> Iterator[Flow]:
        """The other engines that are up and have the call's model."""
        flow = permit.flow
        for (url, model), other in self._flows.items():
            is_other = model == flow.model and url != flow.where.url and other.name not in tried
            if is_other and other.health.up:
                yield other

    def succeeded(self, permit: Permit, timings: Timings) -> None:
        """The call was answered to its end: give the permit back, and learn."""
        flow, seat, wanted = permit.flow, permit.seat, permit.wanted
        flow.answered(seat, timings)
        seat.leaves = seat.demand.prefix
        self._release(permit)
        flow.health.succeeded()
        flow.slots.purse.served()
        if flow.turns is not None and flow.facts is not None:
            flow.loader.served(flow.named, timings.load_s)
        if wanted.is_embedding or timings.prompt_tokens <= 0:
            return
        flow.slots.find(seat, timings.prompt_tokens, timings.output_tokens)
        flow.token_scale.learn(wanted.prompt_tokens, timings.prompt_tokens)
        flow.learn(seat, timings, Kind.MEDIUM)

    def failed(self, permit: Permit, error: FluidoError) -> None:
        """The call failed: give the permit back, and note what that says about the engine."""
        flow, seat = permit.flow, permit.seat
        seat.refused = not isinstance(error, WaitTimeout)
        seat.outcome = Outcome.OVERLOAD if isinstance(error, EngineBusy | WaitTimeout) else Outcome.IGNORED
        if isinstance(error, CacheFull):
            flow.slots.overflowed()
        self._release(permit)
        flow.health.failed(error, permit.wanted.user or permit.wanted.client or id(permit))
        if isinstance(error, Unreached):
            # Nobody answers there: that is no affair of one model.
            for other in self._flows.values():
                if other.where.url == flow.where.url and other is not flow:
                    other.health.down(error)

    async def unused(self, model: str) -> Flow | None:
        """The queue of a loaded model that nobody uses, on an engine that can unload it."""
        name, engines = self._directory.resolve(model)
        for engine in engines:
            flow = await self.flow(engine, name)
            is_idle = not flow.inflight and not flow.waiting
            if flow.turns is not None and flow.turns.plays(flow) and is_idle:
                return flow
        return None

    def unloaded(self, flow: Flow) -> None:
        """Its model was unloaded because a client asked for that."""
        if flow.turns is not None:
            flow.turns.lost(flow)

    def left(self, permit: Permit) -> None:
        """The client left: give the permit back."""
        self._release(permit)

    def _release(self, permit: Permit) -> None:
        if not permit.released:
            permit.released = True
            permit.flow.release(permit.seat)
            if permit.flow.turns is not None:
                permit.flow.turns.news()


def _first_token_s(choice: tuple[Flow, Demand]) -> tuple[bool, float, float]:
    flow, order = choice
    load_s = flow.turns.price_s(flow) if flow.turns is not None else 0.0
    seconds = flow.predicted_wait_s(order) + load_s + order.first_token_s
    return flow.health.is_passed_over, seconds, flow.inflight / flow.limit
