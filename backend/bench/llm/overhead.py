"""What the dispatcher adds to a call when nothing waits: against the same engine asked directly."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from fluido.llm import Call, Delta, Dispatcher, EngineFacts, Message, Options, Timings

WARM_UP = 200


class InstantEngine:
    """Answers at once, in this process: what is left is ours."""

    name = "instant"

    async def open(self) -> None:
        """Nothing to connect."""

    async def close(self) -> None:
        """Nothing to close."""

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        """It has its model."""

    async def facts(self, model: str = "") -> EngineFacts:
        """Four slots, a small window."""
        return EngineFacts(self.name, "llamacpp", model, 4, 4096, "1", pins_slots=True)

    async def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Delta | Timings, None]:
        """Two words."""
        yield Delta("a")
        yield Delta("b")
        yield Timings(0.0, 0.0, 0.001, 0.001, 0.001, 0.002, 20 * len(call.messages), 0, 2, "stop", slot)


@dataclass(frozen=True, slots=True)
class Overhead:
    """Milliseconds a call, at the median and the 99th percentile, and their difference."""

    calls: int
    direct_ms_p50: float
    direct_ms_p99: float
    through_ms_p50: float
    through_ms_p99: float

    @property
    def added_ms_p99(self) -> float:
        """What the slowest percent of calls pays."""
        return self.through_ms_p99 - self.direct_ms_p99


async def overhead(calls: int, *, clock: Callable[[], float] = time.perf_counter) -> Overhead:
    """`calls` each way in turn, one at a time, each with a history of twenty messages."""
    engine = InstantEngine()
    direct, through = [], []
    async with Dispatcher([engine]) as dispatcher:
        for number in range(WARM_UP + calls):
            call = _call(number)
            began_s = clock()
            async with aclosing(engine.stream(call)) as stream:
                async for _ in stream:
                    pass
            middle_s = clock()
            async with aclosing(dispatcher.stream(call)) as answer:
                async for _ in answer:
                    pass
            if number >= WARM_UP:
                direct.append(middle_s - began_s)
                through.append(clock() - middle_s)
    ones, twos = sorted(direct), sorted(through)
    return Overhead(calls, _at(ones, 0.5), _at(ones, 0.99), _at(twos, 0.5), _at(twos, 0.99))


def _call(number: int) -> Call:
    talk = [Message(("user", "assistant")[n % 2], f"{number % 8} said {n} " * 8) for n in range(19)]
    question = Message("user", f"question {number}")
    options = Options(num_predict=2)
    return Call((Message("system", "brief"), *talk, question), options=options, conversation=str(number % 8))


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3
