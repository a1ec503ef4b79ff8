"""The class of work that the current task does, for lanes, laws and metrics."""

from contextvars import ContextVar, Token
from types import TracebackType

_label: ContextVar[str] = ContextVar("fluido_label", default="")

current_label = _label.get
"""The innermost label, or "" outside of any."""


class _Labelled:
    __slots__ = ("_name", "_tokens")

    def __init__(self, name: str) -> None:
        self._name = name
        self._tokens: list[Token[str]] = []

    def __enter__(self) -> str:
        self._tokens.append(_label.set(self._name))
        return self._name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _label.reset(self._tokens.pop())


def label(name: str) -> _Labelled:
    """`with label("report"):` names the class of the work inside, also in tasks started there."""
    return _Labelled(name)
