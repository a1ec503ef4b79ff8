"""Connection ramp: open connections follow the limit slowly, and leave when nobody needs them."""

import math

GOLDEN = 0.6180339887498949


class Follower:
    """Arithmetic only: told the time and the demand, it answers how many connections there may be.

    The first `unpaced` are opened as they are asked for; from there up by one at most every `open_every_s` (a
    storm of connects costs the server more than it brings). Down to `ceil(1.2 * peak)` of the last `idle_s`,
    never below `kept`.
    """

    __slots__ = (
        "_earlier_peak",
        "_grown_s",
        "_lifetimes",
        "_window_s",
        "allowed",
        "idle_s",
        "kept",
        "lifetime_s",
        "open_every_s",
        "peak",
        "unpaced",
        "window_end_s",
    )

    def __init__(
        self,
        *,
        kept: int,
        open_every_s: float,
        idle_s: float,
        lifetime_s: float | None,
        unpaced: int = 1,
    ) -> None:
        self.kept = kept
        self.unpaced = max(1, kept, unpaced)
        self.open_every_s = open_every_s
        self.idle_s = idle_s
        self.lifetime_s = lifetime_s
        self.allowed = self.unpaced
        self._grown_s = -math.inf
        self._window_s = self.window_end_s = -math.inf
        self.peak = 0
        self._earlier_peak = 0
        self._lifetimes = 0.0

    def grow(self, limit: float, now_s: float) -> float:
        """Allow one more connection if it is time, else answer the seconds to wait (inf: at the limit)."""
        if self.allowed >= math.ceil(limit):
            return math.inf
        wait_s = self._grown_s + self.open_every_s - now_s
        if wait_s > 0.0:
            return wait_s
        self.allowed += 1
        self._grown_s = now_s
        return 0.0

    def demand(self, inflight: int, now_s: float) -> None:
        """Note how many connections are in use; news only above `peak` or after `window_end_s`."""
        if now_s > self.window_end_s:
            # Two half windows: the peak covers between a half and a whole `idle_s`.
            self._earlier_peak = self.peak if now_s - self._window_s <= self.idle_s else 0
            self.peak = 0
            self._window_s = now_s
            self.window_end_s = now_s + self.idle_s / 2
        self.peak = max(self.peak, inflight)

    def surplus(self, opened: int, inflight: int, now_s: float) -> int:
        """How many of `opened` connections nobody needed lately."""
        self.demand(inflight, now_s)
        needed = math.ceil(1.2 * max(self.peak, self._earlier_peak))
        return max(0, opened - max(self.kept, needed))

    def shrink(self) -> None:
        """One connection was closed for good."""
        self.allowed = max(self.unpaced, self.allowed - 1)

    def next_lifetime_s(self) -> float:
        """How long the next connection may live: a sequence without clusters instead of a random jitter."""
        if self.lifetime_s is None:
            return math.inf
        self._lifetimes = (self._lifetimes + GOLDEN) % 1.0
        return self.lifetime_s * (1.0 - 0.05 * self._lifetimes)
