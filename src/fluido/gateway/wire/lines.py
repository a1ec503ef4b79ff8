"""Line assembly: whole lines out of pieces cut anywhere, with a bound."""

from fluido.llm.errors import StreamBroken

MAX_LINE_BYTES = 32 << 20


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
