"""An engine that hangs with calls in hand: they move while their deadline allows it. In virtual time."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from fluido.errors import FluidoError, WaitTimeout
from fluido.llm import Call, Delta, Patience, Pulse
from tests.llm.asking import answer, ask, dispatcher_of, in_virtual_time, now_s
from tests.llm.conftest import ScriptedEngine, ended

DEADLINE_S = 8.0


class Stoppable(ScriptedEngine):
    """Answers after `takes_s`; while it is stopped (SIGSTOP) nothing comes, to calls and questions alike."""

    takes_s = 0.3

    def __init__(self, name: str, *, slots: int = 4) -> None:
        super().__init__(name, slots=slots)
        self.script = self.says
        self.runs = asyncio.Event()
        self.runs.set()
        self.asked_s: list[float] = []

    async def says(self, _: Call):
        await asyncio.sleep(self.takes_s)
        await self.runs.wait()
        yield Delta("a")
        yield ended(prefill_s=self.takes_s, total_s=self.takes_s)

    async def pulse(self, model: str = "") -> Pulse:
        self.asked_s.append(now_s())
        await self.runs.wait()
        return await super().pulse(model)

    async def facts(self, model: str = "") -> Any:
        await self.runs.wait()
        return await super().facts(model)


@pytest.mark.parametrize("seed", range(3))
def test_of_218_calls_none_is_lost_to_an_engine_that_hangs_while_another_has_room(seed: int) -> None:
    """Once 12 of 218: a silent engine was asked after 30 s only."""

    async def scene() -> None:
        one, other = Stoppable("one"), Stoppable("other")
        came, dice = Counter[str](), random.Random(seed)

        async def person(number: int) -> None:
            try:
                await answer(
                    dispatcher, ask(str(number), key=f"u{number % 9}", deadline_s=now_s() + DEADLINE_S)
                )
                came["answered"] += 1
            except FluidoError as error:
                came[type(error).__name__] += 1

        async with dispatcher_of(one, other) as dispatcher:
            async with asyncio.TaskGroup() as group:
                for number in range(218):
                    if number == 60:
                        one.runs.clear()
                    if number == 180:
                        one.runs.set()
                    await asyncio.sleep(dice.expovariate(10.0))  # of the 26 a second that both can do
                    group.create_task(person(number))
            assert came == {"answered": 218}
            assert dispatcher.stations[0].health.downs == 1, "it is asked for in the background"
            await dispatcher.stations[0].health.back()
            before = one.started
            await asyncio.gather(*(answer(dispatcher, ask(f"again {n}")) for n in range(8)))
            assert one.started > before, "what runs again is used again"

    in_virtual_time(scene())


@pytest.mark.parametrize("deadline_s", [4.0, 8.0, 20.0, 60.0])
def test_a_call_moves_while_half_of_its_time_is_left_for_the_other_engine(deadline_s: float) -> None:
    async def scene() -> None:
        one, other = Stoppable("one"), Stoppable("other")
        async with dispatcher_of(one, other) as dispatcher:
            for engine in (one, other, one, other):
                engine.runs.set()
                await answer(dispatcher)
            one.runs.clear()
            began_s = now_s()
            _, end = await answer(dispatcher, ask(deadline_s=began_s + deadline_s))
            assert end.engine == "other"
            assert now_s() - began_s < max(0.9, 0.5 + 0.02 * deadline_s) * deadline_s

    in_virtual_time(scene())


def test_an_engine_that_is_alone_is_waited_for_until_the_deadline() -> None:
    """Nobody else could answer: what it has in hand is not taken away, and nothing is begun again."""

    async def scene() -> None:
        alone = Stoppable("alone")
        async with dispatcher_of(alone) as dispatcher:
            await answer(dispatcher)
            alone.runs.clear()
            asking = asyncio.create_task(answer(dispatcher, ask(deadline_s=now_s() + DEADLINE_S)))
            await asyncio.sleep(6.0)
            alone.runs.set()
            assert (await asking)[0] == "a"
            assert alone.started == 2
            assert dispatcher.stations[0].health.downs == 0
            alone.runs.clear()
            with pytest.raises(WaitTimeout):
                await answer(dispatcher, ask(deadline_s=now_s() + DEADLINE_S))
            alone.runs.set()

    in_virtual_time(scene())


def test_a_slow_first_token_of_an_engine_that_answers_questions_does_not_move() -> None:
    async def scene() -> None:
        slow, idle = ScriptedEngine("slow"), ScriptedEngine("idle")

        async def late(_: Call):
            await asyncio.sleep(7.0)
            yield Delta("a")
            yield ended()

        slow.script = late
        async with dispatcher_of(slow, idle) as dispatcher:
            _, end = await answer(dispatcher, ask(deadline_s=now_s() + DEADLINE_S))
            assert (end.engine, end.retries) == ("slow", 0)
            assert slow.pulses >= 2, "it was asked"
            assert dispatcher.stations[0].health.downs == 0

    in_virtual_time(scene())


def test_where_the_deadline_is_far_nothing_is_asked_sooner_than_before() -> None:
    async def scene() -> None:
        engine = Stoppable("one")
        engine.takes_s = 29.0
        async with dispatcher_of(engine, Stoppable("other")) as dispatcher:
            assert (await answer(dispatcher, ask(deadline_s=now_s() + 300.0)))[0] == "a"
            assert not [at_s for at_s in engine.asked_s if 0.0 < at_s < engine.takes_s]

    in_virtual_time(scene())


@pytest.mark.parametrize("expected_s", [0.0, 0.1, 1.0, 5.0, 40.0, 1e6])
@pytest.mark.parametrize("left_s", [0.0, 0.5, 3.0, 8.0, 60.0, 300.0, float("inf")])
def test_the_first_question_leaves_three_quarters_of_the_time(expected_s: float, left_s: float) -> None:
    patience = Patience()
    first_s = patience.for_first_question(expected_s, left_s)
    assert 0.0 <= first_s <= patience.for_first_token(expected_s)
    assert first_s <= left_s / 4 or left_s == float("inf")
