"""Looks after a limiter while callers wait: nobody starves below its ceiling (laws/_standstill)."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Protocol

from fluido.flow._gate import Gate
from fluido.laws._base import Decision, Law
from fluido.laws._standstill import Standstill

LOOK_S = 0.1


class Relieved(Protocol):
    """The limiter, as far as this looks at it."""

    @property
    def gate(self) -> Gate:
        """Where callers wait."""

    @property
    def clock(self) -> Callable[[], float]:
        """The limiter's."""

    @property
    def law(self) -> Law:
        """Its ceiling is how far it may be relieved."""

    @property
    def braked(self) -> bool:
        """Whether calls fail."""

    @property
    def completed(self) -> int:
        """How many calls have ended."""

    @property
    def mean_service_s(self) -> float:
        """Seconds a call takes."""

    def relieve(self, decision: Decision, now_s: float) -> None:
        """Put a factor on the limit."""


def look(limiter: Relieved, standstill: Standstill, now_s: float, *, room: bool) -> Decision:
    """Tell the law whether anything moved, and obey it. `room`: whether a larger limit could help."""
    if limiter.braked:
        decision = standstill.refused()
    else:
        decision = standstill.look(
            now_s,
            moved=limiter.completed + limiter.gate.admitted,
            waiting=limiter.gate.waiting,
            service_s=limiter.mean_service_s,
            room=room,
        )
    limiter.relieve(decision, now_s)
    return decision


class Standing:
    """One timer a limiter, set by the first caller that waits, gone when nobody does."""

    def __init__(self, limiter: Relieved, standstill: Standstill) -> None:
        # The timer must not keep a forgotten limiter alive.
        self._limiter = weakref.ref(limiter)
        self._standstill = standstill
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Look from time to time as long as somebody waits on this loop."""
        loop = asyncio.get_running_loop()
        if self._timer is None or loop is not self._loop:
            self._rest()
            self._loop = loop
            self._timer = loop.call_later(LOOK_S, self._look)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._standstill.rest()

    def _look(self) -> None:
        self._timer = None
        limiter, loop = self._limiter(), self._loop
        if limiter is None or loop is None:
            return
        gate = limiter.gate
        room = gate.limit < limiter.law.ceiling and not gate.paused
        decision = look(limiter, self._standstill, limiter.clock(), room=room)
        if gate.waiting or decision.value > 1.0:
            self._timer = loop.call_later(LOOK_S, self._look)
        else:
            self._rest()
