"""Timeouts of a stream: how long silence is believed, and the liveness check that is asked beside it.

A first token that is late, or a long gap inside an answer, says little: a model is loaded, another caller's
prompt of 30,000 tokens is computed in between. So an engine that is silent for longer than it should be is
asked a cheap question. While it answers, the call goes on, up to the caller's deadline; an engine that does
not is given up.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fluido.errors import FluidoError, WaitTimeout
from fluido.llm._engine import Life
from fluido.llm._errors import Mute, StreamBroken

LOST_TWICE = 2
# A silent engine is asked while there is time for another one: after this share of what is left until the
# deadline. Each question has as much, within bounds; llama.cpp takes a second to say that it is computing.
SHARE = 0.125
LEAST_ANSWER_S, MOST_ANSWER_S = 1.25, 2.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is believed, in seconds.

    A first token is waited for without a question for four times what it should take, but not less than
    `first_token_floor_s` and not more than `first_token_s`. After that, and after `gap_s` inside an answer,
    the engine is asked every `ask_every_s` whether it lives: while it does, a first token may come until the
    call's deadline, and the next one within `silence_s`. A call whose engine is not seen at work moves to
    another one that is idle. Where the deadline is near the engine is asked sooner, and a call moves to
    another one that could answer in time, if its own answers nothing. `slow_reader_s` is how long a full
    reader may hold an answer, `return_s` how long an engine that died is waited for by calls whose own
    deadline allows it.
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

    def for_first_question(self, expected_s: float, left_s: float) -> float:
        """How long it is until the first question, with `left_s` until the deadline."""
        soon_s = SHARE * left_s
        return min(self.for_first_token(expected_s), max(soon_s, min(expected_s, 2.0 * soon_s)))


class SilenceWatch:
    """Watches one stream. `ask` is given the seconds that the answer may take, and raises nothing.

    `moves_on`: whether another engine is idle; `flees`: whether another one could answer in time. `give_up`
    is called once. One timer a call; nothing is asked of an engine that speaks. A first token should come
    after `expected_s`, and has to within `left_s`.
    """

    def __init__(
        self,
        ask: Callable[[float], Awaitable[Life]],
        give_up: Callable[[], None],
        patience: Patience,
        *,
        moves_on: Callable[[], bool],
        flees: Callable[[], bool],
        expected_s: float = 0.0,
        left_s: float = math.inf,
    ) -> None:
        self._ask = ask
        self._give_up = give_up
        self._patience = patience
        self._moves_on = moves_on
        self._flees = flees
        self._gave_up = self._is_mute = False
        self._answer_s = min(MOST_ANSWER_S, max(LEAST_ANSWER_S, SHARE * left_s))
        self._calm_s = patience.for_first_token(expected_s)
        self._allowed_s = patience.for_first_question(expected_s, left_s)
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._loop.time()
        self._spoke = False
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(self._allowed_s, self._check)
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
        lost, mute, silent_since_s = 0, 0, self._heard_s
        while self._heard_s == silent_since_s:
            is_calm = self._spoke or self.silent_s >= self._calm_s
            life = await self._ask(MOST_ANSWER_S if is_calm else self._answer_s)
            lost = lost + 1 if is_calm and life in {Life.IDLE, Life.MUTE} else 0
            mute = mute + 1 if life is Life.MUTE else 0
            flees = mute >= LOST_TWICE and not self._spoke and self._flees()
            too_long = self._spoke and self.silent_s >= self._patience.silence_s
            moves = is_calm and not self._spoke and life is not Life.AT_WORK and self._moves_on()
            if lost >= LOST_TWICE or too_long or moves or flees:
                if self._heard_s == silent_since_s:
                    self._is_mute = flees
                    self._end()
                return
            await asyncio.sleep(0.0 if lost == 1 or mute == 1 else self._pause(is_calm))
        self._check()

    def _pause(self, is_calm: bool) -> float:
        """Until the next question; the calm time is not slept over."""
        if is_calm:
            return self._patience.ask_every_s
        return min(self._patience.ask_every_s, self._answer_s, max(0.01, self._calm_s - self.silent_s))

    def _end(self) -> None:
        self._gave_up = True
        self._give_up()

    def why(self, name: str, waited_s: float) -> FluidoError:
        """What the stream of the engine `name` ended of that ran into its time-out."""
        if not self._gave_up:
            return WaitTimeout(f"no first token within {waited_s:.1f} s", waited_s=waited_s)
        kind = Mute if self._is_mute else StreamBroken
        return kind(f"{name} went silent for {waited_s:.1f} s")

    def close(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
