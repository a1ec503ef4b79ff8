"""The class of a statement: its text without what changes from call to call."""

import re
import zlib
from functools import lru_cache

MAX_CHARS = 72

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r"E?'(?:[^']|'')*'", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w$.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?\b", re.IGNORECASE)
_PARAMETER = re.compile(r"\$\d+(?:::[\w ]+?(?:\[\])?(?=\W|$))?|%\(\w+\)s(?:::\w+)?|%s|:\w+_\d+(?:_\d+)?\b")
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)*\s*\)")
_ROWS = re.compile(r"\(\?\)(?:\s*,\s*\(\?\))+")
_SPACE = re.compile(r"\s+")

# Waits that the server's capacity has nothing to do with.
_AWAITS_OTHERS = re.compile(r"\bpg_advisory_(?:xact_)?lock|^\s*LISTEN\b|\bpg_notification", re.IGNORECASE)


@lru_cache(maxsize=2048)
def fingerprint(statement: str) -> str:
    """Fold literals, parameters and lists of them; long texts end in a hash of all of it."""
    folded = _COMMENT.sub(" ", statement)
    folded = _STRING.sub("?", folded)
    folded = _PARAMETER.sub("?", folded)
    folded = _NUMBER.sub("?", folded)
    folded = _LIST.sub("(?)", folded)
    folded = _ROWS.sub("(?)", folded)
    folded = _SPACE.sub(" ", folded).strip()
    if len(folded) <= MAX_CHARS:
        return folded
    return f"{folded[: MAX_CHARS - 9]}~{zlib.crc32(folded.encode()):08x}"


@lru_cache(maxsize=2048)
def says_capacity(statement: str) -> bool:
    """Whether the time of this statement is the server's work, not a wait for another client's decision."""
    return _AWAITS_OTHERS.search(statement) is None
