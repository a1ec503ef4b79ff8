"""The request that goes to an engine: the client's own bytes with a patch, or a translation of them."""

from dataclasses import dataclass
from typing import Any, Protocol

from fluido.gateway.wire import _from_ollama as from_ollama
from fluido.gateway.wire import _from_openai as from_openai
from fluido.gateway.wire import _to_ollama as to_ollama
from fluido.gateway.wire import _to_openai as to_openai
from fluido.gateway.wire._asked import INFERENCE, Asked
from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._guard import Profile, guarded, renamed
from fluido.gateway.wire._lines import HeldEvents, HeldLines
from fluido.gateway.wire._routes import Api, Route
from fluido.gateway.wire._shape import rfc3339
from fluido.gateway.wire._spans import encoded


class Translator(Protocol):
    """Turns an engine's answer into the client's API, or its pieces into whole lines. One for each answer."""

    @property
    def media(self) -> bytes:
        """The media type of the stream that comes out."""

    def feed(self, data: bytes) -> bytes:
        """A piece of the stream, cut anywhere; what it completes."""

    def end(self) -> bytes:
        """The engine closed: what is left."""

    def whole(self, body: bytes) -> bytes:
        """A plain answer."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """What is sent to an engine. `changed` tells what is otherwise than asked, for the response's header."""

    path: str
    body: bytes
    translator: Translator | None = None
    changed: tuple[str, ...] = ()
    method: str = "POST"


def to_upstream(
    asked: Asked, engine_api: Api, profile: Profile, *, now_s: float = 0.0, ident: str = ""
) -> Upstream:
    """`asked` as an engine of `engine_api` takes it. Raises BadRequest for a field that cannot be carried.

    `now_s` is Unix time and `ident` a name of this answer, for what a translated answer has to say of itself.
    """
    if asked.api is engine_api:
        return _same(asked, profile)
    if asked.route not in INFERENCE:
        raise BadRequest(
            f"{asked.path} needs an engine that has it, and this one speaks the other API", status=404
        )
    ident = ident or f"{asked.chain[-1] if asked.chain else 0:016x}"
    if engine_api is Api.OLLAMA:
        path, body, changed = to_ollama.request(asked, profile)
        return Upstream(path, body, _of_ollama(asked, ident, now_s), changed)
    path, body, changed = to_openai.request(asked, profile)
    return Upstream(path, body, _of_openai(asked, path, now_s), changed)


def loaded(asked: Asked, now_s: float) -> bytes:
    """What an Ollama says to a request that only loads (or unloads) a model, where none has to be."""
    said: dict[str, Any] = {"response": ""}
    if asked.route is Route.CHAT:
        said = {"message": {"role": "assistant", "content": ""}}
    reason = "unload" if asked.is_unload else "load"
    made = {"model": asked.model, "created_at": rfc3339(now_s), **said, "done": True, "done_reason": reason}
    return encoded(made) + (b"\n" if asked.is_stream else b"")


def _of_ollama(asked: Asked, ident: str, now_s: float) -> Translator:
    if asked.route is Route.EMBED:
        return from_ollama.Embedding(asked)
    kind = from_ollama.Chat if asked.route is Route.CHAT else from_ollama.Completion
    return kind(asked, ident, now_s)


def _of_openai(asked: Asked, path: str, now_s: float) -> Translator:
    if asked.route is Route.EMBED:
        return from_openai.Vectors(asked)
    return from_openai.Answer(asked, path, now_s)


def _same(asked: Asked, profile: Profile) -> Upstream:
    if not asked.fields.names():
        return Upstream(asked.path, asked.body, method=asked.method)
    if asked.api is Api.OLLAMA:
        body, changed = guarded(asked, profile)
        is_answer = asked.is_stream and asked.route in INFERENCE
        return Upstream(asked.path, body, HeldLines() if is_answer else None, changed, asked.method)
    patch, told = renamed(asked, profile)
    # llama.cpp tells its counts anyway, in a chunk that its clients read
    wants_usage = profile.wants_usage and profile.kind != to_openai.LLAMA_CPP
    drops_counts = False
    if wants_usage and asked.is_stream and asked.route in {Route.CHAT, Route.GENERATE}:
        options = asked.fields.value("stream_options")
        if not (isinstance(options, dict) and options.get("include_usage")):
            given = options if isinstance(options, dict) else {}
            patch.set("stream_options", encoded({**given, "include_usage": True}))
            drops_counts = True
    translator = HeldEvents(drops_counts=drops_counts) if asked.is_stream else None
    return Upstream(asked.path, patch.apply(), translator, tuple(told), asked.method)
