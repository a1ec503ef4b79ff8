"""The first burst on an engine that does not tell its slots, in virtual time.

What goes into the engine beyond its slots is first come first served there: its tenants are not fair, and the
deadlines of callers pass there. What does not go in at once must cost a batching engine nothing.
"""

import asyncio
from contextlib import aclosing

import pytest

from fluido.llm import Call, Dispatcher, Message, Options
from fluido.testing.engine import EngineTruth, SimulatedEngine
from fluido.testing.engine_play import NO_LIMIT, Load, play
from fluido.testing.virtual_loop import VirtualLoop

BURST = 64
FEW = {
    1: EngineTruth(base_s=0.01, token_s=0.01, slots=1, usual=4),
    4: EngineTruth(base_s=0.01, token_s=0.005, slots=4, usual=4),
}
MANY = {
    "16 slots": EngineTruth(slots=16, usual=4),
    "64 slots": EngineTruth(slots=64, usual=4),
    "batches": EngineTruth(usual=4),
    "reads prompts slowly": EngineTruth(prompt_s=0.0002, chunk=2048, usual=4),
    "batches, nothing known": EngineTruth(),
}


async def _burst(truth: EngineTruth, *, first: int, seconds: float) -> tuple[SimulatedEngine, list[str]]:
    """`first` calls of one tenant, then one call of another; who was answered, in this order."""
    clock, engine, order = asyncio.get_running_loop().time, SimulatedEngine(truth), list[str]()
    async with Dispatcher([engine], clock=clock, max_waiting=NO_LIMIT) as dispatcher:

        async def ask(tenant: str) -> None:
            call = Call(
                (Message("user", "x" * 100),), options=Options(num_predict=30), tenant=tenant, key=tenant
            )
            async with aclosing(dispatcher.stream(call)) as stream:
                async for _ in stream:
                    pass
            order.append(tenant)

        tasks = [asyncio.create_task(ask("many")) for _ in range(first)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(ask("one")))
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return engine, order


@pytest.mark.parametrize("slots", FEW)
def test_a_burst_waits_where_tenants_are_fair(slots: int) -> None:
    engine, order = VirtualLoop().run(_burst(FEW[slots], first=BURST, seconds=20.0))
    assert engine.peak <= 16, "the rest waits in our queue"
    assert order.index("one") <= 16, "behind what is in the engine, not behind everybody"


def test_without_a_word_of_its_kind_the_engine_has_them_all() -> None:
    """The negative control: what a server that is known to batch gets."""
    engine, _ = VirtualLoop().run(_burst(EngineTruth(slots=1), first=BURST, seconds=1.0))
    assert engine.peak >= 60


@pytest.mark.parametrize(
    ("name", "callers"),
    [
        (1, 64),
        (4, 64),
        ("16 slots", 64),
        ("64 slots", 256),
        ("batches", 64),
        ("batches", 256),
        ("reads prompts slowly", 64),
        ("batches, nothing known", 256),
    ],
)
def test_no_engine_does_less_in_its_first_ten_seconds(name: str | int, callers: int) -> None:
    truth = {**MANY, **FEW}[name]  # type: ignore[dict-item, index]
    load = Load(callers=callers, answer=100, scatter=0.3)
    ours, stock = (play(truth, load, seconds=10.0, limit=limit) for limit in (None, NO_LIMIT))
    assert ours.failed == 0
    assert ours.rate(0.0, 10.0) >= 0.95 * stock.rate(0.0, 10.0), ours.decisions


@pytest.mark.parametrize("tokens", [1, 2])
def test_short_answers_are_let_in_as_fast_as_they_come(tokens: int) -> None:
    """They are never many at once, so that does not show."""
    load = Load(callers=32, answer=tokens)
    ours, stock = (play(MANY["batches"], load, seconds=4.0, limit=limit) for limit in (None, NO_LIMIT))
    assert ours.rate(0.0, 4.0) >= 0.95 * stock.rate(0.0, 4.0), ours.decisions
