"""Timeouts of a stream: how long silence is believed, and the liveness check that is asked beside it.

A first token that is late, or a long gap inside an answer, says little: a model is loaded, another caller's
prompt of 30,000 tokens is computed in between. So an engine that is silent for longer than it should be is
asked a cheap question. While it answers, the call goes on, up to the caller's deadline; an engine that does
not is given up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

LOST_TWICE = 2


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is believed, in seconds.

    A first token is waited for without a question for four times what it should take, but not less than
    `first_token_floor_s` and not more than `first_token_s`. After that, and after `gap_s` inside an answer,
    the engine is asked every `ask_every_s` whether it lives: while it does, a first token may come until the
    call's deadline, and the next one within `silence_s`. A call whose engine is not seen at work moves to
    another one that is idle. `slow_reader_s` is how long a full reader may hold an answer, `return_s` how
    long an engine that died is waited for by calls whose own deadline allows it.
    """

    first_token_floor_s: float = 30.0
    first_token_s: float = 120.0
    gap_s: float = 15.0
    slow_reader_s: float = 10.0
    ask_every_s: float = 5.0
    silence_s: float = 300.0
    return_s: float = 60.0

    def for_first_token(self, expected_s: float) -> float:
        """How long a first token that should take `expected_s` is waited for without a question."""
        floor_s = min(self.first_token_floor_s, self.first_token_s)
        return max(floor_s, min(4.0 * expected_s, self.first_token_s))


class SilenceWatch:
    """Watches one stream. `ask` returns True when the engine is seen at work, None when it lives and does not
    tell, False when it does not answer or this call cannot be at work there any more, and raises nothing;
    `moves_on` whether another engine is idle.

    `give_up` is called once, with the reason. One timer a call; nothing is asked of an engine that speaks.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[bool | None]],
        give_up: Callable[[], None],
        patience: Patience,
        *,
        first_s: float,
        moves_on: Callable[[], bool],
    ) -> None:
        self._ask = ask
        self._give_up = give_up
        self._patience = patience
        self._moves_on = moves_on
        self.gave_up = False
        self._allowed_s = first_s
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._loop.time()
        self._spoke = False
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(first_s, self._check)
        self._task: asyncio.Task[None] | None = None

    def heard(self) -> None:
        """The engine said something: from now on gaps are measured."""
        self._heard_s = self._loop.time()
        if not self._spoke:
            self._spoke = True
            self._allowed_s = self._patience.gap_s
            if self._timer is not None:
                self._timer.cancel()
                self._timer = self._loop.call_later(self._allowed_s, self._check)

    @property
    def silent_s(self) -> float:
        """Since when nothing came."""
        return self._loop.time() - self._heard_s

    def _check(self) -> None:
        left_s = self._allowed_s - self.silent_s
        if left_s > 1e-3:
            self._timer = self._loop.call_later(left_s, self._check)
            return
        self._timer = None
        self._task = asyncio.create_task(self._watch(), name="fluido-llm-silence")

    async def _watch(self) -> None:
        """Until it speaks again, is lost, or was silent for too long."""
        lost, silent_since_s = 0, self._heard_s
        while self._heard_s == silent_since_s:
            life = await self._ask()
            lost = lost + 1 if life is False else 0
            too_long = self._spoke and self.silent_s >= self._patience.silence_s
            moves = life is not True and not self._spoke and self._moves_on()
            if lost >= LOST_TWICE or too_long or moves:
                if self._heard_s == silent_since_s:
                    self._end()
                return
            await asyncio.sleep(0.0 if lost else self._patience.ask_every_s)
        self._check()

    def _end(self) -> None:
        self.gave_up = True
        self._give_up()

    def close(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
