"""An engine's address as people write it, and how it is shown: without the secrets that it may hold."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

# To the last @: a password may hold a slash that nobody escaped.
USERINFO = re.compile(r"(?<=//)\S*@")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine is. `url` holds no secret and no path of the API; `headers` carry what lets us in."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def address(
    given: str,
    *,
    endings: tuple[str, ...],
    api_key: str = "",
    headers: Mapping[str, str] | None = None,
) -> Address:
    """Read an address with or without `http://` and the `endings` that other clients want.

    `user:password@` in it becomes Basic authentication, `:key@` a bearer key; `api_key` and `headers` win.
    Raises ValueError with a sentence that holds no secret.
    """
    text = given.strip()
    text = text if "://" in text else f"http://{text}"
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"an engine's address begins with http:// or https://, not {parts.scheme}://")
    if not host.strip(":[]") or parts.query or parts.fragment:
        raise ValueError(f"{shown(text)!r} is not an engine's address: give one like http://127.0.0.1:11434")
    try:
        parts.port  # noqa: B018  (a port that is no number raises)
    except ValueError:
        raise ValueError(f"{shown(text)!r} has no usable port: give a number from 1 to 65535") from None
    path = parts.path.rstrip("/")
    for ending in endings:
        path = path.removesuffix(ending).rstrip("/")
    sent = _credentials(parts)
    if api_key.strip():
        sent["Authorization"] = f"Bearer {api_key.strip()}"
    sent.update(headers or {})
    _check(sent)
    return Address(f"{parts.scheme}://{host}{path}", sent)


def shown(text: str) -> str:
    """A name or an address for logs, metrics and people: without user, password or key."""
    return USERINFO.sub("", text)


def _credentials(parts: SplitResult) -> dict[str, str]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not user and not password:
        return {}
    if not user:
        return {"Authorization": f"Bearer {password}"}
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def _check(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not isinstance(value, str) or any(ord(c) < 32 or ord(c) > 126 for c in f"{name}{value}"):
            raise ValueError(f"the header {name!r} holds something that no header may hold, as a line end")
