"""An item in a buffer, with what its caller brought along."""

import contextvars
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Context = contextvars.Context


class Buffered(Generic[Item]):
    """`group` and `context` are the caller's: only items of one group are written together, in a context."""

    __slots__ = ("added_s", "bytes", "context", "group", "item")

    def __init__(self, item: Item, size: int, origin: tuple[Hashable, Context | None]) -> None:
        self.item = item
        self.bytes = size
        self.group, self.context = origin
        self.added_s = 0.0
