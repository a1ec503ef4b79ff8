"""Batch bisection: write a batch, and when one bad item fails it, find that item and write the others."""

import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[Sequence[Item]], Awaitable[Sequence[Result] | None]]
Verdict = tuple[int, int, Sequence[Result] | None, Exception | None]
Context = contextvars.Context


class Buffered(Generic[Item]):
    """`group` and `context` are the caller's: only items of one group are written together, in a context."""

    __slots__ = ("added_s", "bytes", "context", "group", "item")

    def __init__(self, item: Item, size: int, origin: tuple[Hashable, Context | None]) -> None:
        self.item = item
        self.bytes = size
        self.group, self.context = origin
        self.added_s = 0.0


def never(_error: BaseException, /) -> bool:
    """No error is an item's fault: a failed batch fails for everybody in it."""
    return False


class Refused:
    """In the place of an item's result: the others were written, this one was not, for this reason."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Held:
    """In the place of an item's result: it was not written, because it waits for something of its own."""

    __slots__ = ()


HELD = Held()


class Bisection(Generic[Item, Result]):
    """The writes of one batch. A write that fails must have left nothing behind (one statement does that).

    `poisoned` tells whether an error is the fault of an item. Only then the batch is halved and written
    again: after a lost connection nobody knows what was stored. One bad item among n costs about 2 log2(n)
    writes. A write that finds the bad items by itself answers `Refused` in their places instead.
    """

    def __init__(self, write: Write[Item, Result], poisoned: Callable[[BaseException], bool]) -> None:
        self._write = write
        self._poisoned = poisoned
        self.writes = 0

    async def run(self, items: Sequence[Item]) -> AsyncIterator[Verdict[Result]]:
        """`(start, end, results, error)` of slices that cover `items`, in order, each as it ends."""
        todo = [(0, len(items))]
        while todo:
            start, end = todo.pop()
            self.writes += 1
            try:
                results = await self._write(items[start:end])
                if results is not None and len(results) != end - start:
                    raise ValueError(f"{end - start} items were written and {len(results)} results came back")
            except Exception as error:  # noqa: BLE001  (whatever the caller's write raises belongs to the items)
                if end - start > 1 and self._poisoned(error):
                    middle = (start + end) // 2
                    todo += [(middle, end), (start, middle)]
                else:
                    yield start, end, None, error
            else:
                yield start, end, results, None
