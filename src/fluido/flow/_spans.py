"""Tracing hooks, where a tracer may listen: the parts of a call that take time, as they begin and end.

While nobody listens a part costs half a microsecond. The drop-ins know no tracer, and a tracer knows no
drop-in.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

Value = str | int | float | bool


class Span(Protocol):
    """One part under way."""

    def end(self, error: BaseException | None, attributes: Mapping[str, Value]) -> None:
        """It is over; `error` says how it failed."""


Begin = Callable[[str, Mapping[str, Value]], Span]
listening: list[Begin] = []
"""At most one. What runs between two round trips looks here before it asks for a part."""


def listen(begin: Begin | None) -> None:
    """Tell `begin` of every part from now on, instead of whoever listened before; None: nobody."""
    listening[:] = [begin] if begin is not None else []


class Part:
    """The block of one part. Without a span it keeps nothing and tells nobody."""

    __slots__ = ("_notes", "_span")

    def __init__(self, span: Span | None) -> None:
        self._span = span
        self._notes: dict[str, Value] = {}

    def note(self, **attributes: Value) -> None:
        """Keep attributes for the end."""
        if self._span is not None:
            self._notes.update(attributes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._span is not None:
            self._span.end(error, self._notes)


_UNHEARD = Part(None)


def part(name: str, **attributes: Value) -> Part:
    """`with part("fluido.wait", flow="db") as here:`; `here.note(...)` adds what is known at the end."""
    return Part(listening[0](name, attributes)) if listening else _UNHEARD
