"""Which commands have had large replies, and so get a connection of their own."""

from collections import OrderedDict
from collections.abc import Sequence

from fluido.redis._routing import READING, canonical

MOST_ENTRIES = 1024
KEY_BYTES = 128
# A key that was large once is taken for large until it was small four times; keys of its pattern
# ("page:#") after two of them were large.
_EXACT, _EXACT_SMALL = 64, 16
_PATTERN, _PATTERN_LARGE, _PATTERN_MOST = 4, 8, 64


class Bulk:
    """A bounded memory of command and key, and of command and pattern of key. `names` has the commands."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._scores: OrderedDict[tuple[str, bytes, bool], int] = OrderedDict()

    def expects(self, args: Sequence[object]) -> bool:
        """Whether the reply is expected to be large."""
        name = canonical(args[0])
        if name not in self.names:
            return False
        key = key_of(args)
        scores = self._scores
        return (
            scores.get((name, key, True), 0) > 0
            or scores.get((name, pattern(key), False), 0) >= _PATTERN_LARGE
        )

    def large(self, name: str, key: bytes) -> None:
        """The reply was large."""
        key = key[:KEY_BYTES]
        scores, exact = self._scores, (name, key, True)
        if exact not in scores:
            general = (name, pattern(key), False)
            scores[general] = min(_PATTERN_MOST, scores.get(general, 0) + _PATTERN)
            scores.move_to_end(general)
        scores[exact] = _EXACT
        scores.move_to_end(exact)
        self.names.add(name)
        while len(scores) > MOST_ENTRIES:
            self._forget(next(iter(scores)))

    def small(self, args: Sequence[object]) -> None:
        """The reply was not large although it was expected to be."""
        name, key = canonical(args[0]), key_of(args)
        for entry, step in (((name, key, True), _EXACT_SMALL), ((name, pattern(key), False), 1)):
            if entry in self._scores:
                self._scores[entry] -= step
                if self._scores[entry] <= 0:
                    self._forget(entry)

    def _forget(self, entry: tuple[str, bytes, bool]) -> None:
        del self._scores[entry]
        if not any(name == entry[0] for name, _, _ in self._scores):
            self.names.discard(entry[0])


def key_of(args: Sequence[object]) -> bytes:
    """The first key of a command, as far as it matters here."""
    key = args[1] if len(args) > 1 else b""
    if isinstance(key, str):
        return key[:KEY_BYTES].encode("utf-8", "replace")[:KEY_BYTES]
    if isinstance(key, bytes | bytearray):
        return bytes(key[:KEY_BYTES])
    return repr(key).encode()[:KEY_BYTES] if isinstance(key, int | float) else b""


def pattern(key: bytes) -> bytes:
    """A key without what tells it from its siblings: "page:17" and "page:18" have one pattern."""
    head, separator, last = key.rpartition(b":")
    if separator and last.translate(None, b"0123456789") != last:
        return head.translate(None, b"0123456789") + b":#"
    return key.translate(None, b"0123456789")


def name_and_key(packed: bytes) -> tuple[str, bytes]:
    """The name and the first key of a packed command."""
    words = packed[:64].split(b"\r\n", 4)
    if len(words) < 3:
        return "", b""
    name = canonical(words[2])
    if len(words) < 5 or not words[3].startswith(b"$"):
        return name, b""
    start = len(words[0]) + len(words[1]) + len(words[2]) + len(words[3]) + 8
    return name, packed[start : start + min(int(words[3][1:]), KEY_BYTES)]


def only_reads_packed(packed: bytes) -> bool:
    """Whether a packed command only reads."""
    return name_and_key(packed)[0] in READING


def reply_bytes(reply: object, enough: int) -> int:
    """About how large a reply was; counts no further than `enough`."""
    if isinstance(reply, str | bytes):
        return len(reply)
    if isinstance(reply, dict):
        reply = [*reply.keys(), *reply.values()]
    if not isinstance(reply, list | tuple | set | frozenset):
        return 16
    size = 0
    for element in reply:
        size += reply_bytes(element, enough - size)
        if size >= enough:
            break
    return size
