"""Which conversation loses its slot when there are fewer slots than conversations.

The least recently used one is right when people who talked lately go on talking, and wrong when many take
turns: who was served last comes back last, and eleven in a circle over ten slots never find anything again
(llama.cpp's discussion 13606 reports just that). Then it is better to give away the slot that was used last
and leave the others alone. Nobody knows beforehand which world it is, so both policies run in the shadow on
the same calls, and the one that would have hit more often lately decides.
"""

from collections import OrderedDict

LEARN_SHARE = 0.03
MARGIN = 0.05


class Eviction:
    """Two shadow caches of `slots` conversations. `newest_goes` is what to do now."""

    __slots__ = ("_hits_newest", "_hits_oldest", "_newest", "_oldest", "_slots", "newest_goes")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._oldest: OrderedDict[int, None] = OrderedDict()  # evicts what was used least recently
        self._newest: OrderedDict[int, None] = OrderedDict()  # evicts what was used most recently
        self._hits_oldest = 0.0
        self._hits_newest = 0.0
        self.newest_goes = False

    def saw(self, lineage: int) -> None:
        """A call of this conversation came."""
        self._hits_oldest += LEARN_SHARE * (self._used(self._oldest, lineage, last=False) - self._hits_oldest)
        self._hits_newest += LEARN_SHARE * (self._used(self._newest, lineage, last=True) - self._hits_newest)
        lead = self._hits_newest - self._hits_oldest
        if abs(lead) > MARGIN:
            self.newest_goes = lead > 0

    def _used(self, shadow: "OrderedDict[int, None]", lineage: int, *, last: bool) -> float:
        hit = lineage in shadow
        if not hit and len(shadow) >= self._slots:
            shadow.popitem(last=last)
        shadow[lineage] = None
        shadow.move_to_end(lineage)
        return float(hit)
