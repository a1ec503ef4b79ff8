"""Ways to ask one engine: V1's, ours, and ours with one lever at a time.

All ask for the same output tokens.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.load import FailedError, RefusedError, Reply
from bench.v1.engine import End, StaticEngine
from bench.v1.prompt import SYSTEM_PROMPT, Fragment, messages
from bench.workloads import Question
from fluido.errors import FluidoError, LimitReached
from fluido.laws import Fixed, Law
from fluido.llm import (
    Answers,
    Call,
    Delta,
    Dispatcher,
    Engine,
    EngineFacts,
    Kind,
    Message,
    OllamaEngine,
    OpenAIEngine,
    Options,
    RunnerProfile,
)

Dialect = Literal["llamacpp", "ollama"]
NEVER_ENDS = {"ignore_eos": True}
NO_COLD_CUT_S = 1e9
# Two threads of ggml wait for each other by spinning; the load and the arms need the other core.
ONE_THREAD = RunnerProfile(num_thread=1)


class Memory:
    """What was said in each conversation, as one arm knows it."""

    def __init__(self, before: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        self._before = {name: [Fragment(q, a) for q, a in pairs] for name, pairs in before.items()}
        self._talks: dict[str, list[Fragment]] = {}

    def of(self, conversation: str) -> list[Fragment]:
        """The fragments, oldest first."""
        if conversation not in self._talks:
            self._talks[conversation] = list(self._before.get(conversation, ()))
        return self._talks[conversation]


class _EqualEngine(StaticEngine):
    """V1's engine client, told not to stop before the bound: every arm answers with as many tokens."""

    def _request(self, messages: list[dict[str, str]], num_predict: int) -> tuple[str, dict[str, Any]]:
        path, body = super()._request(messages, num_predict)
        return path, body if "options" in body else {**body, **NEVER_ENDS}


class StaticArm:
    """V1: system prompt, last three fragments, question; sent at once.

    `options` go with every call (Ollama).
    """

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        model: str,
        before: Mapping[str, Sequence[tuple[str, str]]],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine = _EqualEngine(url, dialect, model)
        self._memory = Memory(before)
        self._clock = clock

    async def open(self) -> None:
        """Connect."""
        await self._engine.open()

    async def close(self) -> None:
        """Disconnect."""
        await self._engine.close()

    async def ask(self, question: Question) -> Reply:
        """One question, one complete answer."""
        fragments = self._memory.of(question.conversation)
        first, pieces, end = None, [], None
        try:
            sent = messages(fragments, question.text)
            async with aclosing(self._engine.stream(sent, question.output_tokens)) as stream:
                async for item in stream:
                    if isinstance(item, End):
                        end = item
                    else:
                        first = first or self._clock()
                        pieces.append(item.text)
        except Exception as error:
            raise FailedError(str(error)) from error
        if end is None:
            raise FailedError("no end")
        fragments.append(Fragment(question.text, "".join(pieces)))
        return Reply(first, end.output_tokens, "", None, None, end.prompt_tokens, end.cached_tokens)


@dataclass(frozen=True, slots=True)
class Levers:
    """Which parts of ours are on. `history` is V1's window or everything; `limit` 0 means the law decides."""

    name: str
    history: Literal["window", "whole"] = "whole"
    limit: int = 0
    pins: bool = True
    cold_cut: bool = True
    shares: bool = False
    max_wait_s: float | None = None


class _Unpinned:
    """An engine that takes no pin: what llama.cpp does when it chooses the slot itself."""

    def __init__(self, engine: OpenAIEngine) -> None:
        self._engine = engine
        self.name = engine.name
        self.open, self.close, self.load = engine.open, engine.close, engine.load

    async def facts(self, model: str = "") -> EngineFacts:
        return replace(await self._engine.facts(model), pins_slots=False)

    def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Any, None]:  # noqa: ARG002
        return self._engine.stream(call)


class FluidoArm:
    """Ours, with the levers of one arm. Several engines make one service."""

    def __init__(
        self,
        urls: Sequence[str],
        dialect: Dialect,
        model: str,
        before: Mapping[str, Sequence[tuple[str, str]]],
        levers: Levers,
        *,
        slots: int | None = None,
        memory: Memory | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._levers = levers
        self._memory = memory or Memory(before)
        self._clock = clock
        self.dispatcher = Dispatcher(
            [_engine(url, dialect, model, levers, slots) for url in urls],
            law=None if not levers.limit else _fixed(levers.limit),
            answers=Answers(sampled=levers.shares, clock=clock),
            cold_prefill_s=0.5 if levers.cold_cut else NO_COLD_CUT_S,
            max_waiting=10_000,
            clock=clock,
        )

    async def open(self) -> None:
        """Connect."""
        await self.dispatcher.open()

    async def close(self) -> None:
        """Disconnect."""
        await self.dispatcher.close()

    async def ask(self, question: Question) -> Reply:
        """One question, one complete answer."""
        fragments = self._memory.of(question.conversation)
        first, pieces, reply = None, [], Reply()
        try:
            async with aclosing(self.dispatcher.stream(self._call(fragments, question))) as stream:
                async for item in stream:
                    if isinstance(item, Delta):
                        first = first or self._clock()
                        pieces.append(item.text)
                    else:
                        cached = item.cached_tokens or 0
                        reply = Reply(first, item.output_tokens, "", None, None, item.prompt_tokens, cached)
        except LimitReached as error:
            raise RefusedError(str(error)) from error
        except FluidoError as error:
            raise FailedError(str(error)) from error
        fragments.append(Fragment(question.text, "".join(pieces)))
        return reply

    def _call(self, fragments: list[Fragment], question: Question) -> Call:
        kept = messages(fragments, question.text)
        if self._levers.history == "whole":
            kept = [{"role": "system", "content": SYSTEM_PROMPT}]
            for fragment in fragments:
                kept.append({"role": "user", "content": fragment.question})
                kept.append({"role": "assistant", "content": fragment.answer})
            kept.append({"role": "user", "content": question.text})
        wait_s = self._levers.max_wait_s
        return Call(
            messages=tuple(Message(m["role"], m["content"]) for m in kept),
            options=Options(num_predict=question.output_tokens),
            kind=Kind.SHORT,
            key=question.user_id,
            conversation=question.conversation if self._levers.history == "whole" else "",
            deadline_s=None if wait_s is None else self._clock() + wait_s,
        )


def _engine(url: str, dialect: Dialect, model: str, levers: Levers, slots: int | None) -> Engine:
    if dialect == "ollama":
        return OllamaEngine(url, model=model, slots=slots, profile=ONE_THREAD)
    engine = OpenAIEngine(url, model=model, extra=NEVER_ENDS)
    return engine if levers.pins else _Unpinned(engine)


def _fixed(limit: int) -> Callable[[EngineFacts], Law]:
    return lambda facts: Fixed(min(limit, facts.slots or limit))


V1_FIFO = Levers("v1_fifo", history="window", limit=1, pins=False)
APPEND = Levers("append", limit=100, pins=False, cold_cut=False)
APPEND_PINS = Levers("append_pins", limit=100, cold_cut=False)
APPEND_PINS_ONE = Levers("append_pins_1", limit=1, cold_cut=False)
V2 = Levers("v2")
V2_SHARES = Levers("v2_shares", shares=True)
V2_REFUSES = Levers("v2_refuses", max_wait_s=2.0)
ABLATION = (V1_FIFO, APPEND, APPEND_PINS, APPEND_PINS_ONE, V2)
LIMITS = (V2, Levers("v2_limit_2", limit=2), Levers("v2_limit_4", limit=4))
