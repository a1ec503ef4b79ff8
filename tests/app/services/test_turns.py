"""One turn of a conversation at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.services.transcript import Turn, bounded
from app.services.turns import MAX_WAITING_PER_CONVERSATION, Turns
from fluido.errors import LimitReached, WaitTimeout

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def hold(turns: Turns, conversation: str, deadline_s: float) -> AsyncIterator[None]:
    turn = turns.line_up(conversation)
    try:
        await turn.comes(deadline_s)
        yield
    finally:
        turn.leave()


async def test_turns_are_taken_in_the_order_of_arrival() -> None:
    turns, conversation, order = Turns(), "a", []

    async def turn(number: int) -> None:
        async with hold(turns, conversation, 1e9):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*(turn(number) for number in range(4)))
    assert order == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(turns) == 0


async def test_conversations_do_not_wait_for_each_other() -> None:
    turns = Turns()
    async with hold(turns, "a", 1e9), hold(turns, "b", 1e9):
        assert len(turns) == 2


async def test_a_flood_in_one_conversation_is_refused_and_leaks_nothing() -> None:
    turns, conversation = Turns(), "a"
    async with hold(turns, conversation, 1e9):
        waiting = [
            asyncio.create_task(hold(turns, conversation, 1e9).__aenter__())
            for _ in range(MAX_WAITING_PER_CONVERSATION)
        ]
        await asyncio.sleep(0)
        with pytest.raises(LimitReached):
            await hold(turns, conversation, 1e9).__aenter__()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert len(turns) == 0


async def test_a_turn_that_comes_too_late_is_given_up() -> None:
    turns, conversation = Turns(clock=lambda: 5.0), "a"
    async with hold(turns, conversation, 1e9):
        with pytest.raises((WaitTimeout, LimitReached)):
            await hold(turns, conversation, 4.0).__aenter__()
    assert len(turns) == 0


def test_a_transcript_is_cut_in_one_step_and_keeps_its_end() -> None:
    turns = [Turn("user", str(number)) for number in range(11)]
    assert bounded(turns[:10], max_messages=10, max_chars=100) == turns[:10]
    assert list(bounded(turns, max_messages=10, max_chars=100)) == turns[-5:]
    assert len(bounded([Turn("user", "x" * 500)], max_messages=10, max_chars=100)) == 1
