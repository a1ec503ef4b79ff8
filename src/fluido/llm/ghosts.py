"""Calls that left during their prefill, where the engine computes on regardless: their places stay taken."""

import asyncio
from collections.abc import Callable


class Ghosts:
    """The slots of those who left, each for as long as its prefill should still take.

    `on_gone` is called whenever one is through.
    """

    def __init__(self, on_gone: Callable[[], None]) -> None:
        self._on_gone = on_gone
        self._slots: list[int] = []

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def slots(self) -> frozenset[int]:
        """Where they are."""
        return frozenset(self._slots)

    def haunt(self, slot: int, left_s: float) -> None:
        """A call left `slot`, which is at work for `left_s` more seconds (0 or less: it is not)."""
        if left_s > 0:
            self._slots.append(slot)
            asyncio.get_running_loop().call_later(left_s, self._lay, slot)

    def _lay(self, slot: int) -> None:
        self._slots.remove(slot)
        self._on_gone()
