"""What CONTRIBUTING.md says of adding something holds: a law, an engine and an experiment from outside."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from bench.statistics import Mean, Verdict, compare, decide
from fluido import Decision, Limiter, Sample
from fluido.llm import Call, Delta, Dispatcher, EngineFacts, Message, Timings
from fluido.testing.virtual_loop import VirtualLoop


class OneMore:
    """A law: one more in flight after each call, up to eight."""

    name = "one_more"
    floor = 1.0
    ceiling = 8.0

    def __init__(self) -> None:
        self._decision = Decision(1.0, "start")

    @property
    def value(self) -> float:
        return self._decision.value

    def observe(self, _sample: Sample, /) -> Decision:
        if self.value < self.ceiling:
            self._decision = Decision(self.value + 1.0, "one_more")
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        return self._decision


class Parrot:
    """An engine: says the question again, a word at a time."""

    name = "parrot"

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def load(self, model: str, window_tokens: int | None = None) -> None: ...

    async def facts(self, model: str = "") -> EngineFacts:
        return EngineFacts("parrot", "parrot", model, 1, 4096, "1")

    async def stream(self, call: Call, *, slot: int | None = None) -> AsyncIterator[Delta | Timings]:
        words = call.messages[-1].content.split()
        for word in words:
            yield Delta(f"{word} ")
        yield Timings(0.0, 0.0, 0.0, 0.0, 0.0, len(words), 0, len(words), 0, "stop")


def test_a_law() -> None:
    async def main() -> None:
        flow = Limiter(OneMore(), name="x", max_waiting=100, clock=asyncio.get_running_loop().time)

        async def call() -> None:
            async with flow.permit():
                await asyncio.sleep(0.01)

        await asyncio.gather(*(call() for _ in range(30)))
        stats = flow.stats()
        assert (stats.value, stats.completed, stats.law, stats.reasons["one_more"]) == (8, 30, "one_more", 7)

    VirtualLoop().run(main())


@pytest.mark.anyio
async def test_an_engine() -> None:
    async with Dispatcher([Parrot()]) as dispatcher:
        question = Call((Message("user", "one two three"),))
        async with aclosing(dispatcher.stream(question)) as events:
            said = [event.text async for event in events if isinstance(event, Delta)]
    assert "".join(said) == "one two three "


def test_an_experiment() -> None:
    control = [[1.0, 1.1, 0.9]] * 8
    faster = [[0.5, 0.6, 0.4]] * 8
    found = [compare(control, arm, Mean(), seed=1) for arm in (faster, control)]
    assert decide(found) == [Verdict.BETTER, Verdict.UNDECIDED]
    assert found[0].ratio == pytest.approx(2.0)
