"""What a text must not tell: users and passwords of addresses to nobody, our addresses to end users."""

import re

# scheme://user:password@host, also where the password holds an @ of its own.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#\"'<>]*@")


_PARAMETER = re.compile(r"(?P<name>[?&](?:password|user|username|token|key|api_key)=)[^&\s\"'<>]*")


def scrubbed(text: str) -> str:
    """Return `text` with the user and password of every address in it left out."""
    if "@" in text:
        text = _USERINFO.sub(r"\g<scheme>", text)
    return _PARAMETER.sub(r"\g<name>***", text) if "=" in text else text


# scheme://host..., and host:port as operating systems and drivers name it.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s,;'\"()<>]+|\[?[A-Za-z0-9][\w.:-]*\]?:\d{1,5}\b")


def public(text: str) -> str:
    """Return `text` without addresses: where our servers are is no business of those who may not reach
    them.
    """
    return _ADDRESS.sub("its address", text)
