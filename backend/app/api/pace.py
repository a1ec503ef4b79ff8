"""How an answer travels to its client: as it comes, merged only while the client or the loop is busy."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

from app.core.adaptive_buffers import PIECE_CHARS, SLOW_CLIENT_S
from app.core.ports import ChatEvent, TextDelta, ThoughtDelta
from fluido import LoopLag, StreamCoalescer
from fluido.laws import Law


class Pace:
    """Bounds of the stream to a client, the gap between two pieces, and counts of how streams ended.

    `heartbeat_s` is the longest silence on a stream; `slow_client_s` is how long one piece may wait
    for a client that does not read; `max_piece_chars` bounds what is merged into one event. `law`
    decides the gap from the lateness of the event loop; None never waits.
    """

    def __init__(
        self,
        *,
        law: Law | None = None,
        heartbeat_s: float = 10.0,
        slow_client_s: float = SLOW_CLIENT_S,
        max_piece_chars: int = PIECE_CHARS,
    ) -> None:
        self.heartbeat_s = heartbeat_s
        self.slow_client_s = slow_client_s
        self.left = 0
        self.too_slow = 0
        self.lag = LoopLag(law, name="stream_gap") if law is not None else None
        self._max_piece_chars = max_piece_chars

    def open(self) -> None:
        """Start to measure the loop's lag. Idempotent."""
        if self.lag is not None:
            self.lag.open()

    def close(self) -> None:
        """Stop measuring. Idempotent."""
        if self.lag is not None:
            self.lag.close()

    def flows(self) -> list[LoopLag]:
        """Return the flow whose law decides the gap; none where nothing adapts."""
        return [self.lag] if self.lag is not None else []

    def live(self) -> dict[str, float | None]:
        """The values in force now, by the names of `DynamicBufferConfig`."""
        return {"batch_size": self._max_piece_chars, "read_timeout_s": self.slow_client_s}

    def client_left(self) -> None:
        """Count a client that closed its connection before the answer was complete."""
        self.left += 1

    def client_too_slow(self) -> None:
        """Count a stream that was cut because nobody read it."""
        self.too_slow += 1

    async def paced(self, events: AsyncGenerator[ChatEvent, None]) -> AsyncGenerator[ChatEvent, None]:
        """Yield what `events` yields; neighbouring text is one piece where it had to wait."""
        coalescer: StreamCoalescer[ChatEvent] = StreamCoalescer(
            _joined, size=_chars, is_event=_is_event, max_size=self._max_piece_chars, gap=self._gap_s
        )
        relayed = cast(
            "AsyncGenerator[ChatEvent, None]", coalescer.relay(cast("AsyncIterator[ChatEvent]", events))
        )
        async with aclosing(relayed) as pieces:
            async for piece in pieces:
                yield piece

    def _gap_s(self) -> float:
        return self.lag.value if self.lag is not None else 0.0


def _joined(pieces: Sequence[ChatEvent]) -> ChatEvent:
    return TextDelta("".join(piece.text for piece in pieces if isinstance(piece, TextDelta)))


def _chars(event: ChatEvent) -> int:
    return len(event.text) if isinstance(event, TextDelta | ThoughtDelta) else 0


def _is_event(event: ChatEvent) -> bool:
    return not isinstance(event, TextDelta)
