"""Flow: the queue of one model on one engine, with what a call costs there."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from fluido.errors import EngineUnavailable, FluidoError, LimitReached
from fluido.gateway._discovery import Engine
from fluido.gateway._turns import Turns
from fluido.gateway.wire import KeepAlive
from fluido.laws import Law
from fluido.llm import Kind
from fluido.llm._call import Lane
from fluido.llm._engine import Engine as LlmEngine
from fluido.llm._engine import EngineFacts
from fluido.llm.admission import Demand, Seat, Station
from fluido.llm.prompt import Prefix

# A model that nobody uses may have been unloaded: asked again after so long.
CHECK_S = 1.0
# What a load is thought to take before one was seen. The library's own guess is for deadlines, and longer.
FIRST_LOAD_S, LOAD_SHARE = 2.0, 0.5
MOST_OF_ONE = 0.75
# Permits of several that a page's own tasks leave to the person who may ask next.
KEPT = 1
# A person who would wait for less than this share of his own first token disturbs nobody.
FELT = 0.2
# A wait is predicted by means: who is let in with less room than this often misses his deadline.
MARGIN = 1.4
# openai-python obeys no Retry-After above a minute.
LATEST_S = 60.0
RATIO_SHARE, MOST_RATIO = 0.1, 8.0
SHORT_TOKENS, MOST_FRAME_TOKENS = 128, 2048


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call weighs, whose it is, and until when its first token has to come (on the admission's clock).

    `tokens[i]` is the prompt up to message i, whose prefix is `chain[i]`; `head` messages are the system's.
    `away_s` is how long an engine is waited for that is away. `window_tokens` is the context window that its
    caller asks for (0: none).
    """

    model: str
    prompt_tokens: int = 0
    most_tokens: int | None = None
    answers: int = 1
    is_embedding: bool = False
    chain: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    head: int = 0
    lane: Lane = Lane.INTERACTIVE
    client: str = ""
    user: str = ""
    weight: float = 1.0
    deadline_s: float | None = None
    away_s: float = 0.0
    window_tokens: int = 0

    @property
    def prefix(self) -> Prefix:
        """The prompt, comparable with what slots hold."""
        return Prefix(self.chain, self.tokens, self.head)


class Displaced(EngineUnavailable):
    """A page's own task gave its permit to a person, who would have waited for it; it begins again later."""


@dataclass(slots=True)
class Permit:
    """The right to be in flight at one engine. Give it back once, by `Admission.release`."""

    flow: "Flow"
    seat: Seat
    wanted: Wanted
    released: bool = field(default=False, init=False)

    @property
    def slot(self) -> int | None:
        """The KV slot that the call should name, if any."""
        place = self.seat.place.slot
        return place if self.seat.residency.pins and place >= 0 else None

    @property
    def waited_s(self) -> float:
        """How long it took to get."""
        return self.seat.waited_s


class Flow(Station):
    """One model of one engine, with its queue and what calls of it cost. `is_open`: nobody ever waits."""

    def __init__(
        self,
        engine: Engine,
        llm: LlmEngine,
        model: str,
        *,
        max_waiting: int,
        is_open: bool = False,
        law: Callable[[EngineFacts], Law] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(llm, model=model, law=law, max_waiting=max_waiting, keeps=KEPT, clock=clock)
        self._is_open = is_open
        self.where = engine
        self.turns: Turns | None = None
        self.checked_s = -math.inf
        self.token_scale = Ratio()
        self.keep_alive = KeepAlive()
        self._deadlines: Counter[float] = Counter()
        self._waiting_of: Counter[str] = Counter()
        self._promises = Promises()
        self._yielding: dict[int, Callable[[], bool]] = {}
        self._leaving: set[int] = set()
        self.displaced = 0
        """Tasks that gave way to people."""
        self._load_s = 0.0

    @property
    def named(self) -> str:
        """Its model, as the engine's loader is asked for it."""
        return self.facts.named(self.model) if self.facts is not None else self.model

    @property
    def is_ready(self) -> bool:
        """Whether calls may be sent: its engine answers, and was not put to sleep."""
        return self.health.up and not self.where.reading.is_asleep

    def unavailable(self) -> FluidoError:
        """What a call is told while it may not be sent."""
        if self.health.up:
            return EngineUnavailable(self.where.error or f"{self.name} is away", retry_after_s=1.0)
        return self.health.unavailable()

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return len(self.queue)

    @property
    def waiting_since_s(self) -> float | None:
        """When the oldest of them came."""
        longest = self.queue.longest(1)
        return longest[0].joined_s if longest else None

    @property
    def earliest_deadline_s(self) -> float:
        """Until when the first token of one of them has to come."""
        return min(self._deadlines, default=math.inf)

    @property
    def expected_load_s(self) -> float:
        """What loading its model should take."""
        return self._load_s or (self.turns.mean_load_s if self.turns is not None else 0.0) or FIRST_LOAD_S

    async def load(self) -> None:
        """Load its model: by a request of our own, when nothing of it is in flight."""
        self.loader.forget(self.model)
        began_s = self._clock()
        await self.loader.ready(self.named)
        took_s = self._clock() - began_s
        self._load_s += (LOAD_SHARE if self._load_s else 1.0) * (took_s - self._load_s)
        if self.turns is not None:
            self.turns.mean_load_s = self._load_s

    def unloaded(self) -> None:
        """Its model gave way to another: what it held is gone."""
        self.loader.forget()
        self.residency.clear()

    async def ready(self, model: str, needed_tokens: int = 0) -> None:
        """Make sure that its model is loaded, or will be when its turn comes; without turns see `Station`."""
        turns = self.turns
        if turns is None:
            await super().ready(model, needed_tokens)
            return
        idle = not self.inflight and not self.waiting
        if turns.plays(self) and idle and self._clock() - self.checked_s > CHECK_S:
            self.checked_s = self._clock()
            is_loaded = await self.check_resident()
            if 0 < self.followed_tokens < needed_tokens:
                self.loader.displaced(self.named)  # another client's window is too small for this call
                is_loaded = False
            if not is_loaded:
                turns.lost(self)
        turns.want(self)

    def order(self, wanted: Wanted) -> Demand:
        """What a call would cost here."""
        scale, prefix = self.token_scale.value, wanted.prefix
        prompt = self.token_scale.of(wanted.prompt_tokens)
        cached = int(scale * self.residency.lookup(prefix).cached_tokens)
        uncached = max(1, prompt - cached)
        output = 0.0
        if not wanted.is_embedding:
            output = wanted.answers * self.estimate.output_tokens(Kind.MEDIUM, wanted.most_tokens)
        return Demand(
            cost_s=self.estimate.cost_s(uncached, output),
            first_token_s=self.estimate.seen_prefill_s(uncached),
            prefix=prefix,
            lane=wanted.lane,
            key=wanted.user,
            tenant=wanted.client,
            weight=wanted.weight,
            label=self.model,
            tokens=prompt + int(output),
            deadline_s=wanted.deadline_s,
            width=wanted.answers,
        )

    def _has_room(self, demand: Demand, reserved: int = 0) -> bool:
        if self._is_open:
            return True
        return not self._is_second_task(demand) and super()._has_room(demand, reserved)

    def _is_second_task(self, demand: Demand) -> bool:
        """A task beside another one at an engine that hides how few slots it has, while people come.

        There no permit can be kept for them: the tasks would wait inside of the engine, and a person behind.
        """
        facts = self.facts
        hides = facts is not None and facts.slots is None and facts.usual_slots is not None
        if not hides or not self._people.kept(demand.lane, KEPT + 1):
            return False
        return any(seat.demand.lane is Lane.BACKGROUND for seat in self.seats)

    def _check_in_time(self, order: Demand) -> None:
        """Refuse whose wait would end too near to his deadline: he is told now, and not then."""
        if order.deadline_s is None or self.estimate.is_a_guess:
            return
        wait_s = self.predicted_wait_s(order)
        if wait_s and self._clock() + MARGIN * wait_s + order.first_token_s > order.deadline_s:
            error = LimitReached(
                f"the first token cannot come before the deadline: {self.waiting} wait, about {wait_s:.1f} s",
                waiting=self.waiting,
                predicted_wait_s=wait_s,
            )
            error.retry_after_s = self._come_back_s(order, error)
            raise error

    def _come_back_s(self, order: Demand, error: LimitReached) -> float:
        """When to try again: as soon as a wait fits the deadline, and not all who were refused at once."""
        wait_s, now_s = error.predicted_wait_s or 0.0, self._clock()
        if order.deadline_s is not None:
            wait_s -= max(0.0, order.deadline_s - now_s - order.first_token_s) / MARGIN
        return self._promises.next_s(now_s, wait_s, order.cost_s / self.limit)

    @contextmanager
    def yields(self, seat: Seat, give_way: Callable[[], bool]) -> Iterator[None]:
        """While nobody has heard a word of it, a task gives its permit to a person who needs it.

        `give_way` is called then; it returns False where it is too late for that.
        """
        self._yielding[id(seat)] = give_way
        try:
            yield
        finally:
            self._yielding.pop(id(seat), None)

    def release(self, seat: Seat) -> None:
        """See `Station.release`."""
        self._leaving.discard(id(seat))
        super().release(seat)

    def _make_way(self, order: Demand) -> None:
        """Where a person would have to wait, the task that began last, and loses least, gives way."""
        people = len(self.queue) - self.queue.waiting(Lane.BACKGROUND)
        if self._is_held_up(order) and people >= len(self._leaving):
            for seat in sorted(self.seats, key=lambda each: each.started_s, reverse=True):
                give_way = self._yielding.pop(id(seat), None)
                if give_way is not None and give_way():
                    self._leaving.add(id(seat))
                    self.displaced += 1
                    return

    def _is_held_up(self, order: Demand) -> bool:
        if not self._yielding or self.is_held or self._is_free(order):
            return False
        return self.predicted_wait_s(order) > FELT * order.first_token_s

    async def seat(self, wanted: Wanted, order: Demand) -> Seat:
        """Wait in line; see `Station.admit`. One client may fill no more than his part of the line."""
        if self._is_free(order):
            return await self.admit(order)
        if order.lane < Lane.BACKGROUND:
            self._make_way(order)
        most = MOST_OF_ONE * self.queue.max_waiting
        if self._waiting_of[wanted.client] >= most:
            wait_s = self.predicted_wait_s(order)
            raise LimitReached(
                f"{self._waiting_of[wanted.client]} calls of {wanted.client or 'yours'} wait already",
                waiting=self.waiting,
                predicted_wait_s=wait_s,
                retry_after_s=wait_s,
            )
        self._check_in_time(order)
        deadline_s = math.inf if wanted.deadline_s is None else wanted.deadline_s
        self._deadlines[deadline_s] += 1
        self._waiting_of[wanted.client] += 1
        try:
            return await self.admit(order)
        except LimitReached as error:
            error.retry_after_s = self._come_back_s(order, error)
            raise
        finally:
            take(self._deadlines, deadline_s)
            take(self._waiting_of, wanted.client)
            if self.turns is not None:
                self.turns.news()


Name = TypeVar("Name")


def take(counts: Counter[Name], name: Name) -> None:
    """One less; what is none is forgotten."""
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


class Promises:
    """When those who were refused are told to come back: one after the other, at the pace of the engine.

    All told the same, they would meet the same full queue again. Whoever does not come back costs the others
    no more than his place: promises end `LATEST_S` from now.
    """

    __slots__ = ("_next_s",)

    def __init__(self) -> None:
        self._next_s = 0.0

    def next_s(self, now_s: float, wait_s: float, cost_s: float) -> float:
        """In how many seconds to come back, where a place is free in `wait_s` and a call takes `cost_s`."""
        at_s = min(max(now_s + max(wait_s, 0.0), self._next_s), now_s + LATEST_S)
        self._next_s = at_s + cost_s
        return at_s - now_s


class Ratio:
    """How many tokens an engine counts for an estimate of ours: so many a token, and the template's own.

    A template adds some words to each prompt, many have a system prompt of their own: short prompts tell that
    `frame`, and long ones the ratio.
    """

    __slots__ = ("_long", "_short", "frame", "value")

    def __init__(self) -> None:
        self._short = self._long = 0
        self.value = 1.0
        self.frame = 0.0

    def of(self, estimated: int) -> int:
        """What the engine will count."""
        return int(self.frame + self.value * estimated)

    def learn(self, estimated: int, counted: int) -> None:
        """A prompt was counted. Pictures make it differ by call: a mean."""
        if estimated <= 0 or counted <= 0:
            return
        if estimated < SHORT_TOKENS:
            self._short += 1
            frame = min(MOST_FRAME_TOKENS, max(0.0, counted - self.value * estimated))
            self.frame += max(1.0 / self._short, RATIO_SHARE) * (frame - self.frame)
        else:
            self._long += 1
            ratio = min(MOST_RATIO, max(0.0, counted - self.frame) / estimated)
            self.value += max(1.0 / self._long, RATIO_SHARE) * (ratio - self.value)
