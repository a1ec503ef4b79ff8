"""Services that are given from outside: named and asked what they are, never started or stopped."""

import base64
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Dialect = Literal["llamacpp", "openai", "ollama"]
SPOKEN: dict[Dialect, str] = {
    "llamacpp": "llama.cpp's server",
    "openai": "An OpenAI-compatible server",
    "ollama": "Ollama",
}
OLLAMA_URL = "http://127.0.0.1:11434"
ASK_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class OutsideEngine:
    url: str
    kind: Dialect
    model: str | None
    answers: bool

    def describe(self) -> str:
        hint = "no model yet (`ollama pull` one)" if self.kind == "ollama" else "the model that it serves"
        state = f"model {self.model}" if self.model else hint
        if not self.answers:
            state = "which does not answer now"
        return f"{SPOKEN[self.kind]} at {without_secret(self.url)}, {state}"


def ask(url: str, wait_s: float = ASK_WAIT_S, *, body: object = None) -> dict[str, Any] | None:
    """The JSON object at `url`, or None when nobody answers with one within `wait_s`."""
    try:
        with urllib.request.urlopen(_request(url, body), timeout=wait_s) as reply:  # noqa: S310  the user's own
            said = json.load(reply)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return said if isinstance(said, dict) else None


def listens(url: str, wait_s: float = ASK_WAIT_S) -> bool:
    """Whether anybody answers at `url`, with whatever status."""
    try:
        urllib.request.urlopen(_request(url), timeout=wait_s).close()  # noqa: S310  the user's own
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def _request(url: str, body: object = None) -> urllib.request.Request:
    """A request with the user, password or key that the address holds, which urllib does not send."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(parts._replace(netloc=host).geturl(), data=data)  # noqa: S310  as above
    if at:
        user, _, password = (unquote(part) for part in userinfo.partition(":"))
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}" if user else f"Bearer {password}")
    return request


def _whole(url: str, *endings: str) -> str:
    """An address with its scheme, and without the ends that clients add themselves."""
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    for ending in endings:
        url = url.removesuffix(ending).rstrip("/")
    return url


def find_openai(url: str, *, model: str | None = None) -> OutsideEngine:
    """An engine that was said to speak OpenAI's dialect, whether it answers now or not, or loads its model.

    Which model it serves is found by the client, who has its key.
    """
    url = _whole(url, "/v1")
    properties = ask(f"{url}/props")
    if properties is not None and "total_slots" in properties:
        name = properties.get("model_alias") or properties.get("model_path")
        return OutsideEngine(url, "llamacpp", model or (str(name) if name else None), answers=True)
    return OutsideEngine(url, "openai", model, answers=listens(f"{url}/v1/models"))


def find_engine(url: str, *, model: str | None = None) -> OutsideEngine:
    """Ask `url` which dialect it speaks; an engine that does not answer now is taken for an Ollama."""
    url = _whole(url, "/api", "/v1")
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
    """The newest that can hold a conversation: the name of one for vectors says so."""
    models = (ask(f"{url}/api/tags") or {}).get("models") or []
    names = [str(model["name"]) for model in models]
    return next((name for name in names if _is_for_chat(url, name)), None)


def _is_for_chat(url: str, name: str) -> bool:
    said = ask(f"{url}/api/show", body={"model": name})
    can = (said or {}).get("capabilities")
    return "completion" in can if isinstance(can, list) else "embed" not in name


def without_secret(url: str) -> str:
    """A URL for people: without the password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()
