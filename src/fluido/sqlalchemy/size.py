"""About how many bytes a value takes on its way to the server, found without encoding it."""

from collections.abc import Mapping
from typing import Any

# Nodes of one value that are looked at; of what is larger, that many are taken for all.
MOST_NODES = 4_096
DEEPEST = 32


def size_of(row: Mapping[str, Any]) -> int:
    """Bytes of a row: texts and binaries by their length, structures by what they hold, all else by eight."""
    total = 0
    for value in row.values():
        kind = type(value)
        if kind is str:
            total += len(value) if value.isascii() else 2 * len(value)
        elif kind is int or kind is float or kind is bool or value is None:
            total += 8
        else:
            total += _size(value, [MOST_NODES], DEEPEST)
    return total


def _size(value: Any, left: list[int], depth: int) -> int:
    left[0] -= 1
    if isinstance(value, str):
        # A character outside of ASCII takes two to four bytes of UTF-8.
        return 4 + (len(value) if value.isascii() else 2 * len(value))
    if isinstance(value, bytes | bytearray):
        return 4 + len(value)
    if isinstance(value, int):
        return max(8, value.bit_length() // 3)  # digits, where it is a text
    held = getattr(value, "nbytes", None)
    if isinstance(held, int):  # memoryview, numpy
        return 4 + held
    parts = _parts(value) if depth else []
    return _many(parts, left, depth) if parts else 8


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    # Dataclasses and models.
    return [] if isinstance(value, type) else list(getattr(value, "__dict__", {}).values())


def _many(values: list[Any], left: list[int], depth: int) -> int:
    room = max(left[0], 16)
    if len(values) <= room:
        return 8 + sum(_size(value, left, depth - 1) for value in values)
    step = -(-len(values) // room)
    sample = values[::step]
    return 8 + sum(_size(value, left, depth - 1) for value in sample) * len(values) // len(sample)
