"""An engine as its scheduler sees it, in virtual time: continuous batching whose truth the test sets.

Each step takes `base_s + token_s * answers decoding + prompt_s * prompt tokens read`, and gives every answer
that decodes one token. Prompts are read in the order of arrival, at most `chunk` tokens a step.
"""

import asyncio
import math
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from fluido.llm import Call, Delta, EngineBusy, EngineFacts, Timings


@dataclass(frozen=True, slots=True)
class EngineTruth:
    """What an engine is. Times in seconds.

    `slots`: how many it works on at a time; the others wait inside, first come first served. `told`: whether
    it says so, `usual` how many are usual for its kind. `refuse_above`: one call more is answered 429. With
    more than `kv_tokens` in flight (prompts and answers) a step takes longer, by `thrash` for each
    `kv_tokens` too many. `caches` conversations keep their prefix (None: all).
    `noise` is the sigma of a lognormal factor on each step, `pause_s` what a call costs at its end, beside
    the others.
    """

    base_s: float = 0.02
    token_s: float = 0.0002
    prompt_s: float = 0.00005
    chunk: int = 512
    slots: int | None = None
    told: bool = False
    usual: int | None = None
    refuse_above: int | None = None
    kv_tokens: float = math.inf
    thrash: float = 4.0
    caches: int | None = None
    noise: float = 0.0
    pause_s: float = 0.0


@dataclass(eq=False, slots=True)
class _Answer:
    conversation: str
    prompt: int
    left: int
    came_s: float
    began_s: float = math.inf
    first_s: float = math.inf
    unread: float = 0.0
    cached: int = 0
    said: int = 0
    waiting: "asyncio.Event" = field(default_factory=asyncio.Event)


class SimulatedEngine:
    """An Engine for a Dispatcher under a VirtualLoop. `factor` below 1 slows every step down.

    A prompt has a token for each character; an answer ends after `num_predict` tokens.
    """

    def __init__(self, truth: EngineTruth, *, name: str = "simulated", seed: int = 1) -> None:
        self.truth = truth
        self.name = name
        self.factor = 1.0
        self.tokens = self.answered = self.refused = self.peak = 0
        self._random = random.Random(seed)  # noqa: S311  (a simulation)
        self._waiting: list[_Answer] = []
        self._active: list[_Answer] = []
        self._held: OrderedDict[str, int] = OrderedDict()
        self._work: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Stop."""
        if self._work is not None:
            self._work.cancel()

    async def facts(self, model: str = "") -> EngineFacts:  # noqa: ARG002
        """What it tells."""
        slots = self.truth.slots if self.truth.told else None
        return EngineFacts(self.name, "simulated", "m", slots, 0, "1", usual_slots=self.truth.usual)

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        """It serves one model."""

    async def stream(
        self,
        call: Call,
        *,
        slot: int | None = None,  # noqa: ARG002
    ) -> AsyncGenerator[Delta | Timings, None]:
        """Answer as the truth says."""
        inside = len(self._waiting) + len(self._active)
        if self.truth.refuse_above is not None and inside >= self.truth.refuse_above:
            self.refused += 1
            raise EngineBusy("429: too many requests", retry_after_s=0.2)
        loop = asyncio.get_running_loop()
        prompt = sum(len(message.content) for message in call.messages)
        mine = _Answer(call.conversation, prompt, call.options.num_predict or 32, loop.time())
        self._waiting.append(mine)
        self.peak = max(self.peak, inside + 1)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run(), name="simulated-engine")
        said = 0
        try:
            while said < mine.left:
                await mine.waiting.wait()
                mine.waiting.clear()
                for _ in range(mine.said - said):
                    yield Delta("x")
                said = mine.said
        finally:
            for queue in (self._waiting, self._active):
                if mine in queue:
                    queue.remove(mine)
        if self.truth.pause_s:
            await asyncio.sleep(self.truth.pause_s)
        self.answered += 1
        yield self._timings(mine, loop.time())

    def _timings(self, mine: _Answer, now_s: float) -> Timings:
        began_s = min(mine.began_s, mine.first_s)
        return Timings(
            queue_s=began_s - mine.came_s,
            load_s=0.0,
            prefill_s=mine.first_s - began_s,
            decode_s=now_s - mine.first_s,
            ttft_s=mine.first_s - mine.came_s,
            total_s=now_s - mine.came_s,
            prompt_tokens=mine.prompt,
            cached_tokens=mine.cached,
            output_tokens=mine.said,
            finish_reason="stop",
        )

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or self._active:
            self._admit(loop.time())
            reading, decoding = self._next()
            step_s = self._step_s(reading, len(decoding))
            await asyncio.sleep(step_s)
            for answer in decoding:
                if answer in self._active:
                    self._token(answer, loop.time())

    def _admit(self, now_s: float) -> None:
        slots = math.inf if self.truth.slots is None else self.truth.slots
        while self._waiting and len(self._active) < slots:
            answer = self._waiting.pop(0)
            answer.began_s = now_s
            answer.cached = min(self._held.pop(answer.conversation, 0), answer.prompt - 1)
            answer.unread = answer.prompt - answer.cached
            self._active.append(answer)

    def _next(self) -> tuple[float, list[_Answer]]:
        """Prompt tokens read in the coming step, and who gets a token at its end."""
        budget = float(self.truth.chunk)
        decoding = [answer for answer in self._active if answer.unread <= 0]
        for answer in self._active:
            if answer.unread > 0 < budget:
                part = min(answer.unread, budget)
                answer.unread -= part
                budget -= part
                if answer.unread <= 0:
                    decoding.append(answer)
        return self.truth.chunk - budget, decoding

    def _step_s(self, reading: float, decoding: int) -> float:
        truth = self.truth
        step_s = truth.base_s + truth.token_s * decoding + truth.prompt_s * reading
        over = sum(answer.prompt + answer.said for answer in self._active) / truth.kv_tokens - 1.0
        step_s *= 1.0 + truth.thrash * max(0.0, over)
        if truth.noise:
            step_s *= self._random.lognormvariate(0.0, truth.noise)
        return step_s / self.factor

    def _token(self, answer: _Answer, now_s: float) -> None:
        answer.said += 1
        self.tokens += 1
        answer.first_s = min(answer.first_s, now_s)
        answer.waiting.set()
        if answer.said >= answer.left:
            self._active.remove(answer)
            if answer.conversation:
                self._held[answer.conversation] = answer.prompt + answer.said
                while self.truth.caches is not None and len(self._held) > self.truth.caches:
                    self._held.popitem(last=False)
