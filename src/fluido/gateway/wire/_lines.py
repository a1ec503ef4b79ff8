"""Line assembly: whole lines and whole events out of pieces cut anywhere, with a bound."""

import re
from abc import ABC, abstractmethod
from typing import TypeVar

import msgspec

from fluido.gateway.wire._spans import object_in
from fluido.llm._errors import StreamBroken

T = TypeVar("T")
MAX_LINE_BYTES = 32 << 20
# Of a line that is longer than this a half may go out: nothing but a break would show it.
MAX_HELD_BYTES = 4 << 20
_ONLY_COUNTS = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_EVENT_END = re.compile(rb"\r?\n\r?\n")


class Lines:
    """Whole lines of a stream. A piece without a line end waits; a line over the bound breaks the stream."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends; empty ones are left out."""
        cut = data.rfind(b"\n")
        if cut < 0:
            self._parts.append(data)
            self._size += len(data)
            if self._size > MAX_LINE_BYTES:
                raise StreamBroken(f"the engine sent a line of more than {MAX_LINE_BYTES} bytes")
            return []
        whole = data[:cut]
        if self._parts:
            self._parts.append(whole)
            whole = b"".join(self._parts)
            self._parts.clear()
        if cut + 1 < len(data):
            self._parts.append(data[cut + 1 :])
        self._size = len(data) - cut - 1
        return [line for line in whole.split(b"\n") if line and line != b"\r"]

    def rest(self) -> list[bytes]:
        """What came after the last line end."""
        rest = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return [rest] if rest.strip() else []


def whole_of(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """A plain answer. Raises StreamBroken for anything else: a torn answer is no answer."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise StreamBroken(f"the engine sent something else than an answer: {body[:80]!r}") from error


class Held(ABC):
    """A stream of the client's own API, byte for byte, but never a half of a line or of an event.

    So an engine that breaks off leaves a stream to which an error can be added: clients fail at half a line
    with an error of their JSON parser, which nobody understands.
    """

    media: bytes
    _ending: bytes  # a piece that ends with it is whole
    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @abstractmethod
    def _cut(self, data: bytes) -> int:
        """Up to where `data` is whole."""

    @abstractmethod
    def _is_whole(self, rest: bytes) -> bool:
        """Whether a stream may end with this."""

    def feed(self, data: bytes) -> bytes:
        """See `Translator`."""
        if self._rest:
            data = self._rest + data
        elif data.endswith(self._ending):
            return data
        cut = self._cut(data)
        if len(data) - cut > MAX_HELD_BYTES:
            cut = len(data)
        if cut == len(data):
            self._rest = b""
            return data
        self._rest = data[cut:]
        return data[:cut]

    def end(self) -> bytes:
        """See `Translator`. A half is left out: the stream is told as broken."""
        rest, self._rest = self._rest, b""
        return rest if self._is_whole(rest.strip()) else b""

    def whole(self, body: bytes) -> bytes:
        """See `Translator`."""
        return body


class HeldLines(Held):
    """NDJSON."""

    media = b"application/x-ndjson"
    _ending = b"\n"
    __slots__ = ()

    def _cut(self, data: bytes) -> int:
        return data.rfind(b"\n") + 1

    def _is_whole(self, rest: bytes) -> bool:
        return bool(object_in(rest))


class HeldEvents(Held):
    """Server-sent events; `drops_counts`: without the one that only counts, which the client did not want."""

    media = b"text/event-stream"
    _ending = b"\n\n"
    __slots__ = ("_drops_counts",)

    def __init__(self, *, drops_counts: bool = False) -> None:
        super().__init__()
        self._drops_counts = drops_counts

    def feed(self, data: bytes) -> bytes:
        """See `Translator`."""
        events = super().feed(data)
        if not self._drops_counts or b'"usage"' not in events or _ONLY_COUNTS.search(events) is None:
            return events
        kept, at = [], 0
        for found in _EVENT_END.finditer(events):
            event = events[at : found.end()]
            if not (b'"usage"' in event and _ONLY_COUNTS.search(event) is not None):
                kept.append(event)
            at = found.end()
        return b"".join(kept) + events[at:]

    def _cut(self, data: bytes) -> int:
        plain, returned = data.rfind(b"\n\n"), data.rfind(b"\n\r\n")
        return max(plain + 2 if plain >= 0 else 0, returned + 3 if returned >= 0 else 0)

    def _is_whole(self, rest: bytes) -> bool:
        return is_whole_event(rest)


def is_whole_event(rest: bytes) -> bool:
    """Whether the last line of a stream, which has no line end, is all of it."""
    name, _, data = rest.strip().rpartition(b"\n")[2].partition(b":")
    return name == b"data" and (data.strip() == b"[DONE]" or bool(object_in(data)))
