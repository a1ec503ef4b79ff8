"""Property test: whatever a server does, nobody gets another's reply and nobody waits for ever."""

import asyncio
from typing import Any

import pytest
import uvloop

from .scenario import Tally, play

BATCH = 100


async def many(first: int, count: int, tally: Tally, focus: str = "plain") -> list[str]:
    wrong = []
    for seed in range(first, first + count):
        wrong += await play(seed, tally, focus)
    return wrong


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
    """Its own standing still is no silence of the server."""
    tally = Tally()
    assert run(many(0, 12, tally, "held")) == []
    assert tally.replies > 5 * 12


@pytest.mark.deep
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_process_that_stands_still_doubles_no_write_in_three_hundred_scenarios(run: Any) -> None:
    assert run(many(20_000, 300, Tally(), "held")) == []


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
