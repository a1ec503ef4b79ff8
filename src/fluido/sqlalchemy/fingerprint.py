"""The class of a statement: its text without what changes from call to call."""

import re
import zlib
from functools import lru_cache

MAX_CHARS = 72
# What is looked at of a statement, however long it is; and how many such beginnings are remembered: 2 MB.
HEAD_CHARS = 2048
REMEMBERED = 1024

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r"E?'(?:[^']|'')*'", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w$.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?\b", re.IGNORECASE)
_PARAMETER = re.compile(r"\$\d+(?:::[\w ]+?(?:\[\])?(?=\W|$))?|%\(\w+\)s(?:::\w+)?|%s|:\w+_\d+(?:_\d+)?\b")
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)*\s*\)")
_ROWS = re.compile(r"\(\?\)(?:\s*,\s*\(\?\))+")
_SPACE = re.compile(r"\s+")
# What a cut leaves of a literal, and of a list of rows or values: their rest is not part of the class.
_CUT_STRING = re.compile(r"E?'.*$", re.DOTALL | re.IGNORECASE)
_CUT_LIST = re.compile(r"(\(\?\)|\(\s*\?)[\s,(?$%:\w.-]*$")

# Waits that the server's capacity has nothing to do with.
_AWAITS_OTHERS = re.compile(r"\bpg_advisory_(?:xact_)?lock|^\s*LISTEN\b|\bpg_notification", re.IGNORECASE)


def fingerprint(statement: str) -> str:
    """Fold literals, parameters and lists of them; long texts end in a hash of what they fold to.

    Of a statement of more than 2,048 characters only these are looked at: it costs the same for any length.
    """
    if len(statement) <= HEAD_CHARS:
        return _judged(statement)[0]
    return _judged(statement[:HEAD_CHARS])[0]


def says_capacity(statement: str) -> bool:
    """Whether the time of this statement is the server's work, not a wait for another client's decision."""
    if len(statement) <= HEAD_CHARS:
        return _judged(statement)[1]
    return _judged(statement[:HEAD_CHARS])[1]


@lru_cache(maxsize=REMEMBERED)
def _judged(head: str) -> tuple[str, bool]:
    folded = _COMMENT.sub(" ", head)
    folded = _STRING.sub("?", folded)
    if len(head) == HEAD_CHARS:
        folded = _CUT_STRING.sub("?", folded)
    folded = _PARAMETER.sub("?", folded)
    folded = _NUMBER.sub("?", folded)
    folded = _LIST.sub("(?)", folded)
    folded = _ROWS.sub("(?)", folded)
    folded = _SPACE.sub(" ", folded).strip()
    if len(head) == HEAD_CHARS:
        folded = _CUT_LIST.sub(r"\1", folded)
    if len(folded) > MAX_CHARS:
        folded = f"{folded[: MAX_CHARS - 9]}~{zlib.crc32(folded.encode('utf-8', 'surrogatepass')):08x}"
    return folded, _AWAITS_OTHERS.search(head) is None
