"""Durations of `keep_alive`, as Go and so Ollama reads them."""

import re

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
FOR_EVER = float("inf")


def seconds_of(keep_alive: str | float) -> float | None:
    """The seconds of a duration as Ollama reads it; infinite for a negative one, None for no duration."""
    if not isinstance(keep_alive, str):
        return FOR_EVER if keep_alive < 0 else float(keep_alive)
    text = keep_alive.removeprefix("+").removeprefix("-")
    parts = _DURATION.findall(text)
    if text != "0" and (not parts or "".join(n + unit for n, unit in parts) != text):
        return None
    return FOR_EVER if keep_alive.startswith("-") else sum(float(n) * _UNITS_S[unit] for n, unit in parts)


def is_nothing(keep_alive: str | float) -> bool:
    """Whether a duration is zero, in any way to write it (0, "0", "0s", "0m0s")."""
    if isinstance(keep_alive, str):
        return bool(keep_alive) and not set(keep_alive) - set("+-0.hmsnuµ") and "0" in keep_alive
    return keep_alive == 0
