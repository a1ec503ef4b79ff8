"""A starvation guard for a concurrency limit: the limit doubles while callers wait and nothing moves.

A law learns from what completes. Where everybody inside waits for somebody outside (a second connection, a
lock, another request), nothing completes, and a limit below the ceiling would stand for ever. Waiting without
a completion is news in itself: after several service times of it the limit doubles, up to the ceiling. It
comes back by halves once calls complete again; the law's own value is not touched.
"""

import math

from fluido.laws._base import Decision

# Long against one service time, short against the patience of a caller; the floor is for calls whose service
# time is not known yet, and for clocks and loops that stutter.
SERVICE_TIMES = 8.0
SHORTEST_S = 0.2
# How long calls must have been moving before half of the help is taken back: they may stand again.
RETURN_S = 1.0


class Standstill:
    """Decides a factor of at least 1 on a limit. Pure: told the time and what is counted, it answers.

    It waits `SERVICE_TIMES` service times, and `shortest_s` at least; `unknown_s` where no call has ended.
    """

    __slots__ = ("_decision", "_moved", "_shortest_s", "_since_s", "_taken_back_s", "_unknown_s")

    def __init__(self, *, shortest_s: float = SHORTEST_S, unknown_s: float = SHORTEST_S) -> None:
        self._shortest_s = shortest_s
        self._unknown_s = unknown_s
        self._decision = Decision(1.0, "moving")
        self._moved = -1
        self._since_s = math.inf
        self._taken_back_s = math.inf

    @property
    def value(self) -> float:
        """The factor in force."""
        return self._decision.value

    def rest(self) -> None:
        """Nobody looked for a while: the time until now says nothing."""
        self._since_s = math.inf

    def look(self, now_s: float, *, moved: int, waiting: int, service_s: float, room: bool) -> Decision:
        """`moved` counts completions and admissions, `room` says whether a larger limit could help."""
        if moved != self._moved or not waiting or now_s < self._since_s:
            self._moved = moved
            self._since_s = now_s
            if self.value > 1.0 and now_s - self._taken_back_s >= RETURN_S:
                self._taken_back_s = now_s
                self._decision = Decision(self.value / 2, "moving", {"waiting": float(waiting)})
            return self._decision
        stood_s = now_s - self._since_s
        patience_s = max(self._shortest_s, SERVICE_TIMES * service_s) if service_s > 0 else self._unknown_s
        if room and stood_s >= patience_s:
            self._since_s = self._taken_back_s = now_s
            inputs = {"waiting": float(waiting), "stood_s": stood_s, "service_s": service_s}
            self._decision = Decision(2.0 * self.value, "standstill", inputs)
        return self._decision

    def refused(self) -> Decision:
        """The server refuses: more at once is the last thing it needs."""
        if self.value > 1.0:
            self._decision = Decision(1.0, "refused")
        return self._decision
