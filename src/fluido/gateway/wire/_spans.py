"""JSON object as bytes: where each member stands, and a patch that leaves all other bytes as they came.

A body is decoded one level deep only: a value is a view into the body until somebody asks for it.
"""

import re
from typing import Any, NamedTuple

import msgspec

from fluido.gateway.wire._bad_request import BadRequest

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*+")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_BLANK = re.compile(rb"[ \t\r\n]*")
# An escape that may be half of a pair: nobody but a program that cuts texts in the middle sends one alone.
_SURROGATE = re.compile(rb"\\(?=u[dD][89a-fA-F])")
SAMPLE_BYTES, MANY_ESCAPES = 4096, 64
COMMA, CLOSE = 0x2C, 0x7D


class Span(NamedTuple):
    """One member: its key begins at `key`, its value is `body[at:end]`."""

    name: str
    key: int
    at: int
    end: int


class Members:
    """The members of one JSON object and the bytes they stand in.

    `folds`: names are compared as Go does, without regard to capitals, and are known by their small letters.
    """

    __slots__ = ("_raws", "_spans", "body", "opening")

    def __init__(self, body: bytes, *, folds: bool = False, where: str = "") -> None:
        raws = _members(body, where)
        self.body = body
        self._raws: dict[str, msgspec.Raw] = {}
        self._spans: dict[str, Span] = {}
        self.opening = at = body.index(b"{") + 1
        while (key := _KEY.match(body, at)) is not None:
            exact = _name(key[1])
            name = exact.casefold() if folds else exact
            raw = raws.get(exact)
            # The decoder kept the last of two members of one name: then the bytes here are not those.
            if raw is None or name in self._spans or not body.startswith(view := memoryview(raw), key.end()):
                raise _twice(name, where)
            end = key.end() + len(view)
            self._spans[name] = Span(name, key.start(1), key.end(), end)
            self._raws[name] = raw
            at = end
            if body[at] != COMMA and body[at := _after_blank(body, end)] != COMMA:
                if body[at] != CLOSE:
                    raise _twice(name, where)
                break
            at += 1

    def __contains__(self, name: str) -> bool:
        return name in self._spans

    def names(self) -> tuple[str, ...]:
        """In the order in which they came."""
        return tuple(self._spans)

    def raw(self, name: str) -> msgspec.Raw | None:
        """The bytes of a value, not decoded; None where there is no such member."""
        return self._raws.get(name)

    def bytes_of(self, name: str) -> bytes:
        """A copy of the bytes of a value; empty where there is no such member."""
        span = self._spans.get(name)
        return self.body[span.at : span.end] if span is not None else b""

    def value(self, name: str) -> Any:
        """A value, decoded; None where there is no such member (and where it is null)."""
        raw = self._raws.get(name)
        return None if raw is None else decoded(raw)

    def span(self, name: str) -> Span | None:
        """Where a member stands."""
        return self._spans.get(name)

    def spans(self) -> tuple[Span, ...]:
        """All members, as they came."""
        return tuple(self._spans.values())


class Patch:
    """Changes of some members of one object; `apply` gives the new bytes."""

    __slots__ = ("_members", "_new", "_removed", "_values")

    def __init__(self, members: Members) -> None:
        self._members = members
        self._values: dict[str, bytes] = {}
        self._new: dict[str, bytes] = {}
        self._removed: set[str] = set()

    def set(self, name: str, value: bytes) -> None:
        """Give a member this value, or add it."""
        self._removed.discard(name)
        if name not in self._members:
            self._new[name] = value
        else:
            self._values[name] = value

    def remove(self, name: str) -> None:
        """Take a member away, if it is there."""
        self._values.pop(name, None)
        self._new.pop(name, None)
        if name in self._members:
            self._removed.add(name)

    def __bool__(self) -> bool:
        return bool(self._values or self._new or self._removed)

    def apply(self) -> bytes:
        """The object with the changes, and every other byte as it was."""
        if not self:
            return self._members.body
        body, spans = memoryview(self._members.body), self._members.spans()
        kept = [span for span in spans if span.name not in self._removed]
        pieces: list[bytes | memoryview] = [body[: self._members.opening]]
        done = self._members.opening
        added = b",".join(encoded(name) + b":" + value for name, value in self._new.items())
        if added:
            pieces.append(added + b"," if kept else added)
        for i, span in enumerate(spans):
            if span.name in self._removed:
                if not kept or span.key < kept[0].key:  # at the front: up to the next key
                    following = spans[i + 1].key if i + 1 < len(spans) else span.end
                    pieces.append(body[done : span.key])
                    done = following
                else:  # with the comma before it
                    pieces.append(body[done : spans[i - 1].end])
                    done = span.end
            elif span.name in self._values:
                pieces.append(body[done : span.at])
                pieces.append(self._values[span.name])
                done = span.end
        pieces.append(body[done:])
        return b"".join(pieces)


def encoded(value: Any) -> bytes:
    """JSON of a value, without blanks; bytes that are JSON already go in as `msgspec.Raw`."""
    return msgspec.json.encode(value)


def decoded(raw: bytes | msgspec.Raw) -> Any:
    """The value of JSON that was checked before. Raises BadRequest for what only the first look let pass."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadRequest(f"the request is not valid JSON: {_why(error)}") from error


def object_in(line: bytes) -> dict[str, object]:
    """The object of a line; empty for anything else: the engine's mistake, and the client's to see."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return {}
    return value if isinstance(value, dict) else {}


def check_text(body: bytes) -> None:
    """Raise BadRequest for half a UTF-8 character and for half a surrogate pair."""
    if not body.isascii():
        try:
            str(body, "utf-8")
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"the request is not UTF-8: byte {error.start} is no character, or half of one"
            ) from error
    # To look at each escape is slower than to decode all, where there are many.
    if body[:SAMPLE_BYTES].count(b"\\") > MANY_ESCAPES or _SURROGATE.search(body) is not None:
        decoded(body)


def _members(body: bytes, where: str) -> dict[str, msgspec.Raw]:
    try:
        return _MEMBERS.decode(body)
    except msgspec.ValidationError as error:
        what = f"{where} must be a JSON object" if where else "the request must be one JSON object"
        raise BadRequest(what, field=where or None) from error
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadRequest(f"the request is not valid JSON: {_why(error)}", field=where or None) from error


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error).removeprefix("JSON is malformed: ")


def _name(key: bytes) -> str:
    if b"\\" in key:
        return str(decoded(key))
    return str(key[1:-1], "utf-8", "replace")


def _after_blank(body: bytes, at: int) -> int:
    found = _BLANK.match(body, at)
    return found.end() if found is not None else at


def _twice(name: str, where: str) -> BadRequest:
    place = f"{where}.{name}" if where else name
    return BadRequest(f"{place} stands there twice: say it once", field=place or None)
