"""LLM request, parsed once: what it asks, what it weighs, and where its fields stand in its bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from fluido.gateway.wire import _weight as weight
from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._durations import is_nothing, seconds_of
from fluido.gateway.wire._routes import MODELS, Api, Route, route_of
from fluido.gateway.wire._spans import Members, check_text
from fluido.gateway.wire._weight import Weight

MAX_BODY_BYTES = 32 << 20
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NO_MEMBERS = Members(b"{}")
INFERENCE = frozenset({Route.CHAT, Route.GENERATE, Route.EMBED})
# How much an answer may become, under every name that engines read it by. The first that is there counts.
_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens", "n_predict")
# A page's own work beside the chat: titles, tags, follow-ups. What a person waits for begins alike: an answer
# from documents, and the words to search the web for.
_TASK, _WAITED_FOR = b'"### Task:', (b"Respond to the user query", b"search quer")
_TASK_BYTES = 400


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a client. `most_tokens` bounds one answer of `answers`; None: the model decides.

    `chain[i]` is a 64-bit hash of everything up to message i and `tokens[i]` its estimated length; `head`
    messages are the system's. `options` are Ollama's, as they came. `user` is whom the client asks for.
    `is_background`: a page asks this on its own, and nobody waits for it.
    """

    api: Api
    route: Route
    path: str
    model: str = ""
    body: bytes = b""
    is_stream: bool = False
    prompt_tokens: int = 0
    most_tokens: int | None = None
    images: int = 0
    answers: int = 1
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    keep_alive: str | float | None = None
    is_background: bool = False
    chain: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    head: int = 0
    user: str = ""
    fields: Members = _NO_MEMBERS
    method: str = "POST"

    @property
    def is_empty(self) -> bool:
        """Whether Ollama is asked to load (or unload) a model and to say nothing."""
        if self.api is not Api.OLLAMA:
            return False
        if self.route is Route.CHAT:
            return not self.chain
        return self.route is Route.GENERATE and self.fields.bytes_of("prompt") in {b"", b'""', b"null"}

    @property
    def is_unload(self) -> bool:
        """Whether the model is to leave the memory: an empty request with a keep_alive of nothing."""
        return self.is_empty and self.keep_alive is not None and is_nothing(self.keep_alive)


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of a request before its body is looked into."""

    api: Api
    route: Route
    path: str
    method: str
    headers: Mapping[bytes, bytes]
    body: bytes


def parse(method: str, path: str, headers: Mapping[bytes, bytes], body: bytes) -> Asked:
    """What a request asks. `path` is without its query, the names of `headers` are in small letters.

    Raises BadRequest, whose text says what to change.
    """
    api, route = route_of(method, path)
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(
            f"the request is {len(body)} bytes long and may be {MAX_BODY_BYTES}: send smaller images",
            status=413,
        )
    if path.startswith(MODELS):
        return Asked(api, route, path, unquote(path[len(MODELS) :]), body, method=method)
    if route in INFERENCE or (route is Route.SHOW and api is Api.OLLAMA):
        return _parsed(_Told(api, route, path, method, headers, body))
    if body and route in {Route.PASS, Route.MANAGE} and not path.startswith("/api/blobs/"):
        return _looked_at(_Told(api, route, path, method, headers, body))
    return Asked(api, route, path, body=body, method=method)


def _parsed(told: _Told) -> Asked:
    api, route, body = told.api, told.route, told.body
    coding = told.headers.get(b"content-encoding", b"").lower()
    if coding not in {b"", b"identity"}:
        raise BadRequest(f"the request is packed as {coding.decode('latin-1')}: send it as it is", status=415)
    if not body.strip():
        raise BadRequest("the request has no body: send a JSON object")
    check_text(body)
    members = Members(body, folds=api is Api.OLLAMA)
    options = _options(members) if api is Api.OLLAMA else _NOTHING
    weighed = _weighed(told, members)
    return Asked(
        api,
        route,
        told.path,
        _model(members),
        body,
        is_stream=_is_stream(members, default=api is Api.OLLAMA and route is not Route.EMBED),
        prompt_tokens=weighed.total,
        most_tokens=_most_tokens(members, options),
        images=weighed.images,
        answers=1 if api is Api.OLLAMA else _answers(members),
        options=options,
        keep_alive=_keep_alive(members),
        is_background=_is_background(weighed.only),
        chain=weighed.chain,
        tokens=weighed.tokens,
        head=weighed.head,
        user=_user(members, told.headers),
        fields=members,
        method=told.method,
    )


def _looked_at(told: _Told) -> Asked:
    """A request that goes on as bytes: only its model and its size are of interest, if it is JSON at all."""
    api, route, body = told.api, told.route, told.body
    try:
        members = Members(body)
        model, stream = _model(members), _is_stream(members, default=api is Api.OLLAMA)
    except BadRequest:
        return Asked(api, route, told.path, body=body, method=told.method)
    return Asked(
        api,
        route,
        told.path,
        model,
        body,
        is_stream=stream,
        prompt_tokens=weight.tokens_of(body) if route is Route.PASS else 0,
        most_tokens=_most_tokens(members, _NOTHING) if route is Route.PASS else None,
        user=_user(members, told.headers),
        fields=members,
        method=told.method,
    )


def _weighed(told: _Told, members: Members) -> Weight:
    api, route, path = told.api, told.route, told.path
    if route is Route.CHAT:
        return weight.of_messages(members)
    if route is Route.SHOW:
        return Weight()
    if route is Route.EMBED:
        return weight.of_prompt(members, ("prompt",) if path == "/api/embeddings" else ("input",))
    own = ("system", "template", "context") if api is Api.OLLAMA else ()
    return weight.of_prompt(members, (*own, "prompt", "suffix"))


def _model(members: Members) -> str:
    model = members.value("model")
    if model is None or model == "":
        model = members.value("name") or ""
    if not isinstance(model, str):
        raise BadRequest("model must be a string", field="model")
    return model


def _is_stream(members: Members, *, default: bool) -> bool:
    stream = members.value("stream")
    if stream is None:
        return default
    if not isinstance(stream, bool):
        raise BadRequest("stream must be true or false", field="stream")
    return stream


def _options(members: Members) -> Mapping[str, Any]:
    if members.value("options") is None:
        return _NOTHING
    inner = Members(members.bytes_of("options"), where="options")
    return MappingProxyType({name: inner.value(name) for name in inner.names()})


def _keep_alive(members: Members) -> str | float | None:
    keep_alive = members.value("keep_alive")
    if keep_alive is None:
        return None
    if isinstance(keep_alive, bool) or not isinstance(keep_alive, str | int | float):
        raise BadRequest('keep_alive must be a number of seconds or a text as "5m"', field="keep_alive")
    if seconds_of(keep_alive) is None:
        raise BadRequest(f'keep_alive {str(keep_alive)[:40]!r} is no duration: say "5m"', field="keep_alive")
    return keep_alive


def _most_tokens(members: Members, options: Mapping[str, Any]) -> int | None:
    if "num_predict" in options:
        return _bound(options["num_predict"], "options.num_predict")
    for name in _BOUNDS:
        if (found := _bound(members.value(name), name)) is not None:
            return found
    return None


def _bound(value: object, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise BadRequest(f"{name} must be a whole number", field=name)
    return int(value) if value >= 0 else None


def _answers(members: Members) -> int:
    n = members.value("n")
    n = 1 if n is None else n
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 128:
        raise BadRequest("n must be a whole number from 1 to 128", field="n")
    best = members.value("best_of")
    return max(n, best) if isinstance(best, int) and not isinstance(best, bool) else n


def _user(members: Members, headers: Mapping[bytes, bytes]) -> str:
    told = headers.get(b"x-openwebui-user-id")
    if told:
        return told.decode("latin-1")
    user = members.value("user") or members.value("safety_identifier")
    return user if isinstance(user, str) else ""


def _is_background(only: bytes) -> bool:
    begin = only[:_TASK_BYTES]
    if not begin.startswith(_TASK) and not (begin.startswith(b"[") and _TASK in begin):
        return False
    return not any(sign in begin for sign in _WAITED_FOR)
