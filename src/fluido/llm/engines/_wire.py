"""Lines of a stream, whatever the pieces they come in: NDJSON and server-sent events.

Bytes are split at newlines before they are decoded, so a character cut in half by the network is whole again.
"""

import json
import math
from collections.abc import AsyncIterable, AsyncIterator

from fluido.llm._errors import StreamBroken

MAX_LINE_BYTES = 4 << 20
BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"
# What json raises for what is none, and for brackets inside of brackets without an end.
NOT_JSON = (ValueError, RecursionError)
# One event, however it is written: more is no answer of an engine.
MAX_EVENT_LINES = 1024


class LineSplitter:
    """Turns pieces of bytes into whole lines, without their line ends."""

    __slots__ = ("_max_line_bytes", "_rest")

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._rest = b""
        self._max_line_bytes = max_line_bytes

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that `piece` completes. Raises StreamBroken when a line has no end in sight."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > self._max_line_bytes:
            raise StreamBroken(f"the engine sent a line of more than {self._max_line_bytes} bytes")
        return [line.rstrip(b"\r") for line in lines]

    def end(self) -> bytes:
        """What came after the last newline."""
        rest, self._rest = self._rest, b""
        return rest.rstrip(b"\r")


async def lines(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Every line of a stream of bytes, the unfinished last one included."""
    splitter, is_first = LineSplitter(), True
    async for piece in pieces:
        for line in splitter.feed(piece):
            yield line.removeprefix(BOM) if is_first else line
            is_first = False
    rest = splitter.end()
    if rest:
        yield rest


async def ndjson(pieces: AsyncIterable[bytes]) -> AsyncIterator[dict[str, object]]:
    """The objects of a newline-delimited JSON stream; empty lines are skipped."""
    async for line in lines(pieces):
        if line.strip():
            yield decoded(line)


async def events(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event. Comments (`:`), event names, ids and retry times are skipped.

    An `error:` field, which llama.cpp's older servers send, is passed on as data of its own. Events without
    data are skipped, and lines of data that are whole by themselves need no empty line between them: some
    servers and proxies leave it out.
    """
    data: list[bytes] = []
    async for line in lines(pieces):
        if line.startswith(b"data:"):
            if data and _is_whole(data):
                yield b"\n".join(data)
                data = []
            if len(data) >= MAX_EVENT_LINES or sum(map(len, data)) > MAX_LINE_BYTES:
                raise StreamBroken("the engine sent an event without an end")
            if value := line[5:].removeprefix(b" "):
                data.append(value)
        elif line.startswith(b"error:"):
            yield b'{"error":' + line[6:].strip() + b"}"
        elif not line and data:
            yield b"\n".join(data)
            data = []
    if data:
        yield b"\n".join(data)


def _is_whole(data: list[bytes]) -> bool:
    last = data[-1].rstrip()
    if last == DONE or not last.endswith(b"}"):
        return last == DONE
    try:
        return isinstance(json.loads(b"\n".join(data)), dict)
    except NOT_JSON:
        return False


def decoded(line: bytes) -> dict[str, object]:
    """One JSON object. Raises StreamBroken for anything else: a torn line is a torn stream."""
    try:
        value = json.loads(line)
    except NOT_JSON as error:
        raise StreamBroken(f"the engine sent something that is not JSON: {line[:80]!r}") from error
    if not isinstance(value, dict):
        raise StreamBroken(f"the engine sent {type(value).__name__} where an object belongs")
    return value


def number(value: object) -> float:
    """A finite number out of untrusted JSON; 0.0 for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    try:
        return float(value) if math.isfinite(value) else 0.0
    except OverflowError:
        return 0.0


def mapping(value: object) -> dict[str, object]:
    """An object out of untrusted JSON; empty for anything else."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """A text out of untrusted JSON; empty for anything else."""
    return value if isinstance(value, str) else ""
