"""Why a service did not answer, from whatever its driver raised: a kind, never the driver's own words."""

import socket
import ssl
from collections.abc import Iterator

from .facts import Reason

SAID_CHARS = 160
_SQLSTATES = {
    "28": "password",
    "3D": "no_database",
    "53": "full",
    "57": "starting",
}
# What only has words: redis-py, and asyncio where it tried several addresses.
_WORDS = {
    "connect call failed": "refused",
    "connection refused": "refused",
    "name or service not known": "unknown_host",
    "wrongpass": "password",
    "noauth": "password",
    "authentication": "password",
    "invalid username-password": "password",
    "max number of clients": "full",
    "loading": "starting",
    "timeout": "late",
    "timed out": "late",
}


def reason_of(error: BaseException) -> Reason:
    """The first kind that any of the errors behind this one has; else what it said, in one line."""
    chain = list(_chain(error))
    for each in chain:
        if (kind := _kind(each)) is not None:
            return Reason(kind)
    for each in chain:
        text = str(each).lower()
        if (kind := next((kind for words, kind in _WORDS.items() if words in text), None)) is not None:
            return Reason(kind)
    said = (str(error).splitlines() or [""])[0].strip() or type(error).__name__
    return Reason("other", said[:SAID_CHARS])


def _kind(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return _SQLSTATES.get(state[:2])
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (ConnectionRefusedError, "refused"),
        (socket.gaierror, "unknown_host"),
        (ssl.SSLError, "tls"),
        (ConnectionError, "lost"),
        (TimeoutError, "late"),
        (UnicodeError, "address"),
        (ValueError, "address"),
    )
    kind = next((kind for of, kind in kinds if isinstance(error, of)), None)
    # EHOSTUNREACH, ENETUNREACH
    return "unreachable" if kind is None and getattr(error, "errno", None) in {101, 113} else kind


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those behind it, the innermost first: it knows best."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__, *(getattr(each, name, None) for name in _BEHIND)]
    yield from reversed(found)


_BEHIND = ("orig", "reason")
