"""When a model is loaded again with a larger window because callers asked for one. Pure: no clock, no engine.

A reload costs everybody seconds and all that was resident, so the window only ever grows, by doubling, up to
a bound: over the life of an engine there are as many reloads as doublings, whatever callers ask for. Wishes
that come before the dwell time is over are kept, and the next reload serves the largest of them.
"""

DWELL_S = 60.0


class Widening:
    """The wishes about one model's window. `dwell_s` lies between two reloads, failed ones too."""

    __slots__ = ("_dwell_s", "_tried_s", "_wanted")

    def __init__(self, dwell_s: float = DWELL_S) -> None:
        self._dwell_s = dwell_s
        self._wanted = 0
        self._tried_s: float | None = None

    def due(self, asked_tokens: int, resident_tokens: int, most_tokens: int, now_s: float) -> int | None:
        """The window to load now for who asked for `asked_tokens`, or None: what is loaded has to do."""
        self._wanted = max(self._wanted, min(asked_tokens, most_tokens))
        if asked_tokens <= resident_tokens or self._wanted <= resident_tokens or resident_tokens <= 0:
            return None
        if self._tried_s is not None and now_s - self._tried_s < self._dwell_s:
            return None
        window = resident_tokens
        while window < self._wanted:
            window *= 2
        return min(window, most_tokens)

    def tried(self, now_s: float) -> None:
        """A reload ended, well or not: the dwell time begins."""
        self._tried_s = now_s
        self._wanted = 0
