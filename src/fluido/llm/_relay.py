"""Between a generation and its readers: who reads slowly does not hold it up, who joins late hears all.

The generation is read as fast as it comes, up to a bound of unread text. A reader that falls behind gets what
it missed in one piece. At the bound the generation pauses for a while, then the reader that holds it up is
dropped.
"""

import asyncio
from collections.abc import AsyncGenerator

from fluido.errors import BufferFull, Closed
from fluido.llm._call import Delta, Timings

MAX_UNREAD_CHARS = 256 * 1024


class Relay:
    """One generation. With `replay` the whole text is kept, so that readers may join after the start."""

    def __init__(self, *, max_unread_chars: int = MAX_UNREAD_CHARS, replay: bool = False) -> None:
        self._max_unread_chars = max_unread_chars
        self._replay = replay
        self._items: list[Delta] = []
        self._readers: set[Reader] = set()
        self._room = asyncio.Event()
        self._end: Timings | BaseException | None = None
        self.started = False

    @property
    def readers(self) -> int:
        """How many still listen."""
        return len(self._readers)

    @property
    def ended(self) -> bool:
        """True once `finish` or `fail` was called."""
        return self._end is not None

    @property
    def full(self) -> bool:
        """True when some reader has more unread text than the bound."""
        return any(reader.unread_chars > self._max_unread_chars for reader in self._readers)

    def join(self) -> "Reader":
        """A new reader, which hears everything from the start.

        Without `replay` only before the first delta.
        """
        if self.started and not self._replay:
            raise Closed("this answer is not kept for late readers")
        reader = Reader(self, sum(len(item.text) + len(item.thinking) for item in self._items))
        self._readers.add(reader)
        return reader

    def put(self, delta: Delta) -> None:
        """Pass on one delta; never waits."""
        self.started = True
        self._items.append(delta)
        size = len(delta.text) + len(delta.thinking)
        for reader in self._readers:
            reader.unread_chars += size
            reader.wake.set()

    async def room(self, patience_s: float) -> None:
        """Wait until no reader is over the bound; readers that stay over it for `patience_s` are dropped."""
        try:
            async with asyncio.timeout(patience_s):
                while self.full:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            for reader in [r for r in self._readers if r.unread_chars > self._max_unread_chars]:
                reader.dropped = True
                reader.wake.set()
                self.leave(reader)

    def whole(self) -> Delta:
        """Everything that was said so far, where it is kept (`replay`)."""
        return _merged(self._items)

    def finish(self, timings: Timings) -> None:
        """The generation ended as it should."""
        self._settle(timings)

    def fail(self, error: BaseException) -> None:
        """The generation ended otherwise: every reader raises `error` after what it has still to read."""
        self._settle(error)

    def _settle(self, end: Timings | BaseException) -> None:
        if self._end is None:
            self._end = end
            for reader in self._readers:
                reader.wake.set()

    def leave(self, reader: "Reader") -> None:
        """A reader goes away. Idempotent."""
        self._readers.discard(reader)
        self._room.set()

    def take(self, reader: "Reader") -> Delta | Timings | None:
        """What `reader` has not read yet as one piece, then the end; None when it has to wait."""
        if reader.dropped:
            raise BufferFull("the answer came faster than it was read")
        if reader.position < len(self._items):
            missed = self._items[reader.position :]
            reader.position = len(self._items)
            reader.unread_chars = 0
            self._room.set()
            if not self._replay and len(self._readers) == 1:
                self._items.clear()
                reader.position = 0
            return missed[0] if len(missed) == 1 else _merged(missed)
        if isinstance(self._end, BaseException):
            raise self._end
        return self._end


class Reader:
    """One listener's place in a relay."""

    __slots__ = ("_relay", "dropped", "position", "unread_chars", "wake")

    def __init__(self, relay: Relay, unread_chars: int) -> None:
        self._relay = relay
        self.position = 0
        self.unread_chars = unread_chars
        self.dropped = False
        self.wake = asyncio.Event()

    async def items(self) -> AsyncGenerator[Delta | Timings, None]:
        """Deltas as they come, then the Timings. Raises what the generation raised."""
        while True:
            item = self._relay.take(self)
            if item is None:
                self.wake.clear()
                await self.wake.wait()
                continue
            yield item
            if isinstance(item, Timings):
                return

    def leave(self) -> None:
        """Stop listening. Idempotent."""
        self._relay.leave(self)


def _merged(deltas: list[Delta]) -> Delta:
    return Delta("".join(d.text for d in deltas), "".join(d.thinking for d in deltas))
