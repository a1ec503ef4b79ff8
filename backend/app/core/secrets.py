"""No user or password of an address leaves the process by a text: the one place that takes them out."""

import re

# scheme://user:password@host, also where the password holds an @ of its own.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#\"'<>]*@")


def scrubbed(text: str) -> str:
    """Return `text` with the user and password of every address in it left out."""
    return _USERINFO.sub(r"\g<scheme>", text) if "@" in text else text
