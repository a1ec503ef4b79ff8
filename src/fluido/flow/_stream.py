"""Stream coalescing: merges what arrives while the receiver is busy, and delays nothing when it keeps up."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")

MAX_SIZE = 16 * 1024


def no_gap() -> float:
    """Send as soon as the receiver is ready."""
    return 0.0


def never_event(_item: object, /) -> bool:
    """Every item may be merged with its neighbours."""
    return False


class StreamCoalescer(Generic[Item]):
    """`async for message in coalescer.relay(source):` for one stream; build one for each.

    `join` merges neighbours (for text: "".join). While the consumer works on a message, arrivals collect,
    and it gets them as one, at most `max_size` (in units of `size`) at a time; beyond `max_size` the source
    waits. `is_event` marks items that travel alone and flush what is before them. `gap` answers the least
    seconds between two messages (LoopLag with StreamGap); the first, an event and the last never wait for it.
    """

    def __init__(
        self,
        join: Callable[[Sequence[Item]], Item],
        *,
        size: Callable[[Item], int],
        is_event: Callable[[Item], bool] = never_event,
        max_size: int = MAX_SIZE,
        gap: Callable[[], float] = no_gap,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if max_size < 1:
            raise ValueError(f"max_size must be at least 1, not {max_size}")
        self._join = join
        self._size = size
        self._is_event = is_event
        self._max_size = max_size
        self._gap = gap
        self._clock = clock
        self._items: deque[Item] = deque()
        self._held = 0
        self._events = 0
        self._ended = False
        self._error: Exception | None = None
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._last_s: float | None = None
        self.received = 0
        self.sent = 0

    async def relay(self, source: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """The items of `source`, merged. An error of the source comes after what preceded it.

        When the consumer stops, the source is cancelled and closed at once. Wrap it in `contextlib.aclosing`
        where a consumer may leave early.
        """
        pump = asyncio.get_running_loop().create_task(self._pump(source))
        try:
            while True:
                await self._until_due()
                message = self._take()
                if message is None:
                    if self._error is not None:
                        raise self._error
                    return
                self.sent += 1
                self._last_s = self._clock()
                yield message[0]
        finally:
            pump.cancel()
            await asyncio.wait({pump})

    async def _pump(self, source: AsyncIterator[Item]) -> None:
        try:
            async for item in source:
                self.received += 1
                self._items.append(item)
                self._held += self._size(item)
                self._events += self._is_event(item)
                self._arrived.set()
                while self._held >= self._max_size:
                    self._taken.clear()
                    await self._taken.wait()
        except Exception as error:  # noqa: BLE001  (the source's error is the consumer's to handle)
            self._error = error
        finally:
            self._ended = True
            self._arrived.set()
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

    async def _until_due(self) -> None:
        while not self._items and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        gap_s = self._gap() if self._last_s is not None else 0.0
        if gap_s <= 0.0 or self._last_s is None:
            return
        due_s = self._last_s + gap_s
        while not (self._ended or self._events or self._held >= self._max_size):
            left_s = due_s - self._clock()
            if left_s <= 0:
                return
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._arrived.wait()

    def _take(self) -> tuple[Item] | None:
        if not self._items:
            return None
        first = self._items.popleft()
        size = self._size(first)
        run = [first]
        if self._is_event(first):
            self._events -= 1
        else:
            while self._items and not self._is_event(self._items[0]):
                more = self._size(self._items[0])
                if size + more > self._max_size:
                    break
                size += more
                run.append(self._items.popleft())
        self._held -= size
        self._taken.set()
        return (run[0] if len(run) == 1 else self._join(run),)
