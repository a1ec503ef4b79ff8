"""17 of 85 requests were "busy" after an engine had died: waits for cold histories, told from warm turns.

In virtual time.
"""

import asyncio

import pytest

from fluido.errors import LimitReached
from fluido.llm import Call, Delta, Dispatcher, Message, Timings
from fluido.testing.virtual_loop import VirtualLoop
from tests.llm.asking import answer, now_s
from tests.llm.conftest import ScriptedEngine, ended

OVERHEAD_S, TOKEN_S, DECODE_S = 0.06, 0.0003, 0.1
TURN_TOKENS, COLD_TOKENS = 15, 600
HELD = Message("system", "You are brief. " * 107)  # 400 tokens that every conversation has had computed


def asked(number: int, *, cold: bool = False) -> Call:
    """A turn of 15 tokens behind 400 that are held, or a history of 600 that nobody holds."""
    words = f"{number:4} and? "
    turn = Message("user", words * (4 * (COLD_TOKENS if cold else TURN_TOKENS) // len(words)))
    deadline_s = now_s() + 8.0
    messages = (turn,) if cold else (HELD, turn)
    return Call(messages, key=f"u{number}", options={"max_tokens": 8}, deadline_s=deadline_s)


class Warm(ScriptedEngine):
    """A call has an overhead, whatever its length; of a turn only what is new is computed."""

    def __init__(self) -> None:
        super().__init__(slots=4, pins_slots=False)
        self.script = self.says

    async def says(self, call: Call):
        prompt = sum(len(message.content) for message in call.messages) // 4
        computed = prompt if len(call.messages) == 1 else TURN_TOKENS
        prefill_s = OVERHEAD_S + TOKEN_S * computed
        await asyncio.sleep(prefill_s)
        yield Delta("a")
        await asyncio.sleep(DECODE_S)
        yield ended(
            prompt_tokens=prompt,
            cached_tokens=prompt - computed,
            prefill_s=prefill_s,
            decode_s=DECODE_S,
            output_tokens=8,
            total_s=prefill_s + DECODE_S,
        )


def test_histories_that_come_from_a_dead_engine_are_not_refused_for_what_turns_cost() -> None:
    """Sixteen of 600 tokens, which four slots answer in two seconds; by turns they were 40 s of work."""

    async def scene() -> None:
        engine = Warm()
        async with Dispatcher([engine], clock=now_s) as dispatcher:
            for number in range(30):
                await answer(dispatcher, asked(number))
            began_s = now_s()
            answers: list[tuple[str, Timings] | BaseException] = await asyncio.gather(
                *(answer(dispatcher, asked(number, cold=True)) for number in range(16)),
                return_exceptions=True,
            )
            refused = [each for each in answers if isinstance(each, LimitReached)]
            assert not refused, refused[0]
            assert not [each for each in answers if isinstance(each, BaseException)]
            assert now_s() - began_s < 4.0

    VirtualLoop().run(scene())


def test_a_queue_that_is_seen_to_be_too_long_is_still_refused_at_once() -> None:
    """The negative control: what was seen is believed."""

    async def scene() -> None:
        async with Dispatcher([Warm()], clock=now_s) as dispatcher:
            for number in range(6):
                await answer(dispatcher, asked(number, cold=True))
            calls = [asyncio.create_task(answer(dispatcher, asked(n, cold=True))) for n in range(200)]
            await asyncio.sleep(0)
            with pytest.raises(LimitReached, match="before the deadline"):
                await answer(dispatcher, asked(999, cold=True))
            await asyncio.gather(*calls, return_exceptions=True)

    VirtualLoop().run(scene())
