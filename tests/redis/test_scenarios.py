"""Property test: whatever a server does, nobody gets another's reply and nobody waits for ever."""

import asyncio
from typing import Any

import pytest
import uvloop

from .scenario import Tally, play

BATCH = 100


STILL_S = 0.02  # time limits in a scenario are 30 to 80 ms: this much of a stall can pass for a slow server
TRIES = 5


async def many(first: int, count: int, tally: Tally, focus: str = "plain") -> list[str]:
    wrong = []
    for seed in range(first, first + count):
        wrong += await steady(seed, tally, focus)
    return wrong


async def steady(seed: int, tally: Tally, focus: str) -> list[str]:
    """What did not hold; played again only where this process itself stood still meanwhile."""
    for _ in range(TRIES):
        stalls: list[float] = [0.0]
        watching = asyncio.create_task(watch(stalls))
        try:
            wrong = await play(seed, tally, focus)
        finally:
            watching.cancel()
        if not wrong or max(stalls) < STILL_S:
            break
    return wrong


async def watch(stalls: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        asked_s = loop.time()
        await asyncio.sleep(STILL_S / 4)
        stalls.append(loop.time() - asked_s - STILL_S / 4)


@pytest.mark.parametrize("batch", range(5))
def test_no_reply_goes_astray(batch: int) -> None:
    tally = Tally()
    run = uvloop.run if batch % 2 else asyncio.run
    assert run(many(batch * BATCH, BATCH, tally)) == []
    # A test that asks little proves little.
    assert tally.replies > 10 * BATCH
    assert tally.cancelled > BATCH
    assert tally.failed > BATCH // 10


@pytest.mark.parametrize("focus", ["slow", "loops"])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_nobody_pays_for_a_slow_reply_or_another_loop(focus: str, run: Any) -> None:
    tally = Tally()
    assert run(many(0, 40, tally, focus)) == []
    assert tally.replies > 5 * 40


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_process_that_stands_still_doubles_no_write(run: Any) -> None:
    """Its own standing still is no silence of the server: no scenario is played again here."""
    tally = Tally()
    assert run(held(0, 12, tally)) == []
    assert tally.replies > 5 * 12


async def held(first: int, count: int, tally: Tally) -> list[str]:
    return [sentence for seed in range(first, first + count) for sentence in await play(seed, tally, "held")]


@pytest.mark.deep
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_process_that_stands_still_doubles_no_write_in_three_hundred_scenarios(run: Any) -> None:
    assert run(held(20_000, 300, Tally())) == []


@pytest.mark.deep
@pytest.mark.parametrize("focus", ["slow", "loops"])
def test_nobody_pays_for_a_slow_reply_or_another_loop_in_a_thousand_scenarios(focus: str) -> None:
    assert asyncio.run(many(20_000, 1000, Tally(), focus)) == []


@pytest.mark.deep
@pytest.mark.parametrize("batch", range(10))
def test_no_reply_goes_astray_in_five_thousand_scenarios(batch: int) -> None:
    tally = Tally()
    run = uvloop.run if batch % 2 else asyncio.run
    assert run(many(10_000 + batch * 500, 500, tally)) == []
    assert tally.replies > 5000
