"""Cross-origin requests (CORS): which web pages may call, as Ollama has it, so that a strange page cannot.

A page of another origin can send a plain POST to a port on its visitor's machine. Ollama refuses that by the
Origin header, and, on loopback, names in Host that are not this machine's (DNS rebinding). So does this.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

Headers = list[tuple[bytes, bytes]]

HERE = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1"})  # noqa: S104  (names, nothing listens there)
DEFAULT = (
    *(f"{scheme}://*" for scheme in ("app", "file", "tauri", "vscode-webview", "vscode-file")),
    *(f"{browser}-extension://*" for browser in ("chrome", "moz", "safari", "safari-web", "ms-browser")),
)
# Names that stand for machines of one's own, as Ollama takes them.
OWN_ENDINGS = (".localhost", ".local", ".internal")
METHODS = b"GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
USUAL_HEADERS = b"authorization, content-type, user-agent, accept, x-requested-with, x-api-key"
MAX_AGE_S = b"43200"


class Origins:
    """Judges by Origin and Host. `more` are origins beside the usual ones, with * as a wildcard."""

    def __init__(self, more: Sequence[str] = (), *, is_loopback: bool = True) -> None:
        self._patterns = tuple(origin.rstrip("/").casefold() for origin in (*DEFAULT, *more))
        self._hosts = frozenset(urlsplit(origin).hostname for origin in more)
        self._is_loopback = is_loopback
        self._known = b""  # the Host of the last one that was allowed: nearly all are the same

    def allowed(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request may be answered at all."""
        if b"origin" not in headers and headers.get(b"host", b"") == self._known:
            return True
        host = headers.get(b"host", b"").decode("latin-1")
        if self._is_loopback and not (_is_own(host) or urlsplit(f"//{host}").hostname in self._hosts):
            return False
        self._known = headers.get(b"host", b"")
        origin = headers.get(b"origin", b"").decode("latin-1").casefold()
        if not origin or urlsplit(origin).netloc == host.casefold() != "" or _is_here(origin):
            return True
        return any(pattern == "*" or fnmatchcase(origin, _literal(pattern)) for pattern in self._patterns)

    def headers(self, headers: Mapping[bytes, bytes]) -> Headers:
        """What an answer to an allowed page says besides."""
        origin = headers.get(b"origin")
        if not origin:
            return []
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

    def preflight(self, headers: Mapping[bytes, bytes]) -> Headers:
        """The answer to a browser's question before its request."""
        asked = headers.get(b"access-control-request-headers", USUAL_HEADERS)
        return [
            *self.headers(headers),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", asked),
            (b"access-control-max-age", MAX_AGE_S),
        ]


def _literal(pattern: str) -> str:
    """Only * is a wildcard: the brackets of an IPv6 address are none."""
    return pattern.replace("[", "[[]")


def _is_here(origin: str) -> bool:
    """Whether a page came from this machine, from any port."""
    parts = urlsplit(origin)
    try:
        return parts.scheme in {"http", "https"} and parts.hostname in HERE and (parts.port or 80) > 0
    except ValueError:  # what stands behind the colon is no port
        return False


def _is_own(host: str) -> bool:
    """Whether a Host header names this machine, or an address."""
    name = urlsplit(f"//{host}").hostname or ""
    if name in {"", "localhost"} or name.endswith(OWN_ENDINGS):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name  # a name of the house: a machine, a container
    return True
