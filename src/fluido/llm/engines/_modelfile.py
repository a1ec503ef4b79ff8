"""What Ollama tells in texts of its own: parameters of a Modelfile, spans of time, the date of an unload."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from fluido.llm._call import Options
from fluido.llm._errors import CallRejected
from fluido.llm.engines._wire import mapping, number

UNIT_S = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
SPAN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|ms|s|m|h)")
AUTHORS = frozenset(Options.__dataclass_fields__) - {"more", "max_tokens"}


def modelfile_parameters(listing: str) -> dict[str, object]:
    """`parameters` of /api/show: one "name value" a line, a name that repeats (stop) becomes a list."""
    found: dict[str, object] = {}
    for line in listing.splitlines():
        name, _, raw = line.strip().partition(" ")
        value = _value(raw.strip())
        if name == "stop":
            stops = found.setdefault("stop", [])
            if isinstance(stops, list):
                stops.append(str(value))
        elif name:
            found[name] = value
    return found


def trained_tokens(show: Mapping[str, object]) -> int:
    """The window a model was made for, of /api/show; 0: not told."""
    info = mapping(show.get("model_info"))
    return next((int(number(value)) for name, value in info.items() if name.endswith(".context_length")), 0)


def authors_options(parameters: Mapping[str, object]) -> Options:
    """The sampling that a model's author set; what cannot be read is left to Ollama."""
    try:
        return Options.parse({name: value for name, value in parameters.items() if name in AUTHORS})
    except CallRejected:
        return Options()


def keep_alive_of(given: str | float) -> str | int | float:
    """A `keep_alive` as Ollama takes it: numbers are seconds, also where they came as a text.

    Raises ValueError for what Ollama would refuse in every call.
    """
    if isinstance(given, str) and re.fullmatch(r"\s*[+-]?\d+\s*", given):
        given = int(given)
    seconds_of(given)
    return given.strip() if isinstance(given, str) else given


def seconds_of(keep_alive: str | float) -> float:
    """Ollama's keep_alive in seconds: a number, or a text like "30m", "1h30m", "-1"; negative is for ever."""
    if isinstance(keep_alive, int | float):
        return float(keep_alive) if keep_alive >= 0 else math.inf
    text = keep_alive.strip()
    sign, text = text.startswith("-"), text.lstrip("+-")
    if text.isdigit():
        return math.inf if sign else float(text)
    if not text or SPAN.sub("", text):
        raise ValueError(f"keep_alive is a number of seconds or like '30m', not {keep_alive!r}")
    return math.inf if sign else sum(float(count) * UNIT_S[unit] for count, unit in SPAN.findall(text))


def seconds_until(expires_at: str) -> float:
    """How long a loaded model stays, by the date that /api/ps tells; 0 where it cannot be read."""
    try:
        at = datetime.fromisoformat(expires_at)
    except ValueError:
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _value(raw: str) -> object:
    if raw.startswith('"') and raw.endswith('"') and len(raw) > 1:
        return raw[1:-1]
    try:
        return float(raw) if any(c in raw for c in ".eE") else int(raw)
    except ValueError:
        return raw
