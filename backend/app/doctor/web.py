"""One HTTP question with its clock: what the doctor needs of a client, and no more."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

TIMEOUT_S = 3.0
SECOND_S = 1.0  # what an HTTP date cannot tell


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body, and how far the server's clock was ahead (None: it did not say the time)."""

    status: int
    body: bytes
    ahead_s: float | None
    error_s: float

    def json(self) -> Any:
        """The body; an empty mapping where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


async def ask(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """GET, or POST where there is a body. Raises OSError (TimeoutError too) when nobody answers."""
    return await asyncio.to_thread(_ask, url, dict(headers or {}), body, timeout_s)


def _ask(url: str, headers: dict[str, str], body: object, timeout_s: float) -> Answer:
    if not url.startswith(("http://", "https://")):
        raise OSError(f"{url} is not an HTTP address")
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["content-type"] = "application/json"
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - the scheme was checked
    began_s = time.time()
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310 - the same
            status, raw, date = response.status, response.read(), response.headers.get("date")
    except urllib.error.HTTPError as error:
        status, raw, date = error.code, error.read(), error.headers.get("date")
    took_s = time.time() - began_s
    if date is None:
        return Answer(status, raw, None, 0.0)
    # The date is cut to a second, and some servers renew it once a second: its middle is a second later.
    said_s = parsedate_to_datetime(date).timestamp() + SECOND_S
    return Answer(status, raw, said_s - (began_s + took_s / 2), SECOND_S + took_s / 2)


def number(value: object) -> float:
    """A number out of untrusted JSON; 0.0 for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def mapping(value: object) -> dict[str, object]:
    """An object out of untrusted JSON; empty for anything else."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """A text out of untrusted JSON; empty for anything else."""
    return value if isinstance(value, str) else ""
