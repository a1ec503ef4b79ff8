"""Services that are given from outside: named and asked what they are, never started or stopped."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

Dialect = Literal["llamacpp", "ollama"]
OLLAMA_URL = "http://127.0.0.1:11434"
ASK_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class OutsideEngine:
    url: str
    kind: Dialect
    model: str | None
    answers: bool

    def describe(self) -> str:
        what = "Ollama" if self.kind == "ollama" else "llama.cpp's server"
        model = f"model {self.model}" if self.model else "no model yet (`ollama pull` one)"
        state = model if self.answers else "which does not answer now"
        return f"{what} at {without_secret(self.url)}, {state}"


def ask(url: str, wait_s: float = ASK_WAIT_S) -> dict[str, Any] | None:
    """The JSON object at `url`, or None when nobody answers with one within `wait_s`."""
    try:
        with urllib.request.urlopen(url, timeout=wait_s) as reply:  # noqa: S310  an address the user gave
            said = json.load(reply)
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def find_engine(url: str, *, model: str | None = None) -> OutsideEngine:
    """Ask `url` which dialect it speaks; an engine that does not answer now is taken for an Ollama."""
    url = url.rstrip("/")
    if ask(f"{url}/api/version") is not None:
        return OutsideEngine(url, "ollama", model or _first_model(url), answers=True)
    properties = ask(f"{url}/props")
    if properties is not None:
        name = properties.get("model_alias") or properties.get("model_path")
        return OutsideEngine(url, "llamacpp", model or (str(name) if name else None), answers=True)
    return OutsideEngine(url, "ollama", model, answers=False)


def find_ollama(url: str = OLLAMA_URL, *, model: str | None = None) -> OutsideEngine | None:
    """An Ollama that listens at `url`, perhaps without a model; None when nobody does."""
    if ask(f"{url}/api/version") is None:
        return None
    return OutsideEngine(url, "ollama", model or _first_model(url), answers=True)


def _first_model(url: str) -> str | None:
    models = (ask(f"{url}/api/tags") or {}).get("models") or []
    return str(models[0]["name"]) if models else None


def without_secret(url: str) -> str:
    """A URL for people: without the password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()
