"""The size of a value on its way to or from the server: an estimate that costs the same for any value."""

import enum
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

import sqlalchemy as sa

# Values looked at inside of one; a larger one is judged by an even sample of its parts.
MOST_PARTS = 1024
FEWEST = 8  # parts of one value
DEEPEST = 64
SAMPLED_CHARS = 512
# Every value has its length in front of it on the wire, or a comma, or quotes.
OVERHEAD = 4
GOLDEN = 0.6180339887498949

# Between the binary form of one driver and the text of the other.
_PLAIN: dict[type, int] = {
    type(None): 0,
    bool: 2,
    float: 12,
    datetime: 16,
    date: 8,
    time: 12,
    timedelta: 16,
    UUID: 24,
}


def size_of(value: object) -> int:
    """Bytes of `value` on the wire, the length before it included; right within a factor of two.

    Lists and mappings count as JSON text does (an array of numbers may be up to three times as large in
    binary form). Above some hundred parts a sample decides: a single giant among them may be missed.
    """
    if isinstance(value, str):
        return OVERHEAD + _text(value)
    plain = _PLAIN.get(type(value))
    if plain is not None:
        return OVERHEAD + plain
    if isinstance(value, int):
        return OVERHEAD + max(8, _digits(value))
    return OVERHEAD + int(_inside(value, [MOST_PARTS], 0, 0))


def size_of_row(row: Iterable[object]) -> int:
    """The same for all values of a row."""
    return sum(map(size_of, row))


def _inside(value: Any, left: list[int], stop: int, depth: int) -> float:
    """What the value itself takes, as a part of a JSON text.

    `left` says how many parts may still be looked at; this value leaves `stop` of them to what follows it.
    """
    left[0] -= 1
    kind = type(value)
    if kind is not dict and kind is not list:
        size = _leaf(value)
        if size is not None:
            return size
    if depth >= DEEPEST:
        return OVERHEAD
    if kind is dict or isinstance(value, Mapping) or (hasattr(value, "items") and hasattr(value, "keys")):
        return 2 + _mapping(value, left, stop, depth)
    if isinstance(value, Collection):
        return 2 + _parts(value, left, stop, depth)
    fields = getattr(value, "__dict__", None)
    if fields is not None:  # a model or dataclass that some type turns into JSON
        return 2 + _mapping(fields, left, stop, depth)
    return _parts(_slots_of(value), left, stop, depth) or len(str(value)[:SAMPLED_CHARS])


def _leaf(value: Any) -> float | None:
    """The size of a value without parts, None for one that has some."""
    size: float | None = None
    if isinstance(value, str):
        size = 2 + (len(value) if value.isascii() else _escaped(value))
    elif value is None or isinstance(value, bool):
        size = 4.5
    elif isinstance(value, int):
        size = _digits(value)
    elif isinstance(value, float | Decimal):
        size = len(str(value))
    elif isinstance(value, bytes | bytearray):
        size = len(value)
    elif isinstance(value, enum.Enum):
        size = 2 + len(value.name)
    elif isinstance(nbytes := getattr(value, "nbytes", None), int):  # memoryview, and the arrays of numpy
        size = nbytes
    elif isinstance(value, sa.ClauseElement):
        size = _expression(value)
    else:
        size = _PLAIN.get(type(value))
    return size


def _expression(value: sa.ClauseElement) -> float:
    """SQL in the place of a value: what is bound in it. Its attributes lead to all of SQLAlchemy."""
    elements = sa.sql.visitors.iterate(value)
    return OVERHEAD + sum(size_of(each.value) for each in elements if isinstance(each, sa.BindParameter))


def _mapping(value: Any, left: list[int], stop: int, depth: int) -> float:
    count = len(value)
    if not count:
        return 0.0
    step = -(-count // _taken(count, left[0] - stop))
    items = list(islice(value.items(), 0, min(count, 64 * MOST_PARTS), step))
    size = 4.0 * len(items) + _all([part for item in items for part in item], left, stop, depth + 1)
    return size * count / len(items)


def _parts(value: Collection[Any], left: list[int], stop: int, depth: int) -> float:
    count = len(value)
    if not count:
        return 0.0
    taken = _taken(count, left[0] - stop)
    if count <= taken:
        parts: list[Any] = list(value)
    elif isinstance(value, list | tuple):
        # One from each stretch, at a place that no rhythm of the values keeps step with.
        stretch = count / taken
        parts = [value[int((i + i * GOLDEN % 1.0) * stretch)] for i in range(taken)]
    else:
        parts = list(islice(value, taken))
    return (2.0 * len(parts) + _all(parts, left, stop, depth + 1)) * count / len(parts)


def _all(parts: list[Any], left: list[int], stop: int, depth: int) -> float:
    """The sum; each part may use an even share of what the ones before it left."""
    size = 0.0
    count = len(parts)
    for index, part in enumerate(parts):
        kind = type(part)
        # Most parts of most values are these: they have no parts of their own, and need no share.
        if kind is str and part.isascii():
            left[0] -= 1
            size += 2 + len(part)
        elif kind is bool or part is None:
            left[0] -= 1
            size += 4.5
        else:
            share = max(0, left[0] - stop) // (count - index)
            size += _inside(part, left, left[0] - share, depth)
    return size


def _taken(count: int, left: int) -> int:
    """How many of `count` parts are looked at: each of them may have some parts of its own."""
    return max(1, min(count, max(min(left, FEWEST), left // FEWEST)))


def _slots_of(value: object) -> list[Any]:
    names = [name for base in type(value).__mro__ for name in _names(getattr(base, "__slots__", ()))]
    return [getattr(value, name, None) for name in names if not name.startswith("__")]


def _names(slots: Any) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _digits(value: int) -> int:
    return int(value.bit_length() * 0.30103) + 1


def _text(value: str) -> int:
    """Bytes as UTF-8."""
    if value.isascii():
        return len(value)
    sample = _sample(value)
    return len(sample.encode("utf-8", "surrogatepass")) * len(value) // len(sample)


def _escaped(value: str) -> float:
    """Bytes in a JSON text: Python writes escapes (6 or 12 bytes a character), the server UTF-8 (2 to 4)."""
    sample = _sample(value)
    ascii_ = len(sample.encode("ascii", "ignore"))
    astral = len(sample.encode("utf-16-le", "surrogatepass")) // 2 - len(sample)
    return (ascii_ + 4 * (len(sample) - ascii_ - astral) + 7 * astral) * len(value) / len(sample)


def _sample(value: str) -> str:
    return value if len(value) <= SAMPLED_CHARS else value[:: -(-len(value) // SAMPLED_CHARS)]
