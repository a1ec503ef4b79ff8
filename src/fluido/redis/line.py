"""Who waits for room: one line a label, first come first served, and the labels take turns."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a waiter wants room for."""

    label: str
    commands: int
    size_bytes: int


class Line(Generic[Result]):
    """A burst under one label waits in its own line: callers of other labels pass it by turns."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, OrderedDict[asyncio.Future[Result], Wish]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def join(self, waiter: asyncio.Future[Result], wish: Wish) -> None:
        """Wait at the end of the line of that label."""
        self._lanes.setdefault(wish.label, OrderedDict())[waiter] = wish
        self._count += 1

    def leave(self, waiter: asyncio.Future[Result], wish: Wish) -> None:
        """Wait no more. Nothing happens to who is not in line."""
        lane = self._lanes.get(wish.label)
        if lane is not None and lane.pop(waiter, None) is not None:
            self._count -= 1
            if not lane:
                del self._lanes[wish.label]

    def first(self) -> tuple[asyncio.Future[Result], Wish]:
        """Whose turn it is. Raises StopIteration when nobody waits."""
        return next(iter(next(iter(self._lanes.values())).items()))

    def served(self, waiter: asyncio.Future[Result], wish: Wish) -> None:
        """The first has got its turn: it leaves, and the next turn is another label's."""
        self.leave(waiter, wish)
        if wish.label in self._lanes:
            self._lanes.move_to_end(wish.label)

    def dissolve(self) -> list[asyncio.Future[Result]]:
        """Everybody leaves."""
        waiters = [waiter for lane in self._lanes.values() for waiter in lane]
        self._lanes.clear()
        self._count = 0
        return waiters
