"""What a browser may do with a Sentinel that has no keys, and with its pages: host names, frames, foreign
pages.
"""

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.failures import ForeignPage

from .errors import Answer

# What is no page loads nothing and stands in no frame; a page says what it needs (pages.py).
NOTHING = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"


class SafeHeaders:
    """Adds to every answer what it did not say itself: no sniffing, no frames, no scripts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", NOTHING)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "no-referrer")
            await send(message)

        await self._app(scope, receive, safe)


class KnownHost:
    """Refuses names that anybody may point to this address (DNS rebinding), where no key is asked for.

    An address, a name without a dot and `*.localhost` cannot be a foreign site's; others are to be listed.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            if not self._is_known(given):
                sentence = (
                    "This name is not one of Sentinel's: use its address, or list the name in "
                    "SENTINEL_ALLOWED_HOSTS."
                )
                await Answer(421, "unknown_host", sentence).response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_known(self, given: str) -> bool:
        name = _without_port(given).rstrip(".").lower()
        if not name or "." not in name or name in self._allowed or name.endswith(".localhost"):
            return not name.startswith("[") or _is_address(name[1:-1])
        return _is_address(name)


def _without_port(given: str) -> str:
    if given.startswith("["):
        return given.partition("]")[0] + "]"
    return given.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_own_page(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise `ForeignPage` when a browser says that a page of another origin asks. Others say nothing."""
    found = dict(headers)
    site = found.get(b"sec-fetch-site", b"").lower()
    if site:
        is_own = site in {b"same-origin", b"none"}
    else:
        origin = found.get(b"origin", b"")
        is_own = not origin or origin.partition(b"://")[2] == found.get(b"host", b"")
    if not is_own:
        raise ForeignPage("A page of another origin may not listen here: open /panel.")
