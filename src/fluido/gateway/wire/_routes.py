"""API routes: which API a path belongs to, and what is asked for with it."""

from enum import Enum, unique

from fluido.gateway.wire._bad_request import BadRequest


@unique
class Api(Enum):
    """Whose words a client or an engine speaks."""

    OLLAMA = "ollama"
    OPENAI = "openai"


@unique
class Route(Enum):
    """What a request asks for. PASS goes to an engine of the same API as bytes, in both directions."""

    ROOT = "root"
    CHAT = "chat"
    GENERATE = "generate"
    EMBED = "embed"
    LIST = "list"
    SHOW = "show"
    PS = "ps"
    VERSION = "version"
    MANAGE = "manage"
    PASS = "pass"  # noqa: S105
    UNKNOWN = "unknown"


READ = frozenset({"GET", "HEAD"})
POST = frozenset({"POST"})
# Exact paths: the API, the route, the methods.
_EXACT: dict[str, tuple[Api, Route, frozenset[str]]] = {
    "/": (Api.OLLAMA, Route.ROOT, READ),
    "/api/version": (Api.OLLAMA, Route.VERSION, READ),
    "/api/tags": (Api.OLLAMA, Route.LIST, READ),
    "/api/ps": (Api.OLLAMA, Route.PS, READ),
    "/api/status": (Api.OLLAMA, Route.PASS, READ),
    "/api/show": (Api.OLLAMA, Route.SHOW, POST),
    "/api/chat": (Api.OLLAMA, Route.CHAT, POST),
    "/api/generate": (Api.OLLAMA, Route.GENERATE, POST),
    "/api/embed": (Api.OLLAMA, Route.EMBED, POST),
    "/api/embeddings": (Api.OLLAMA, Route.EMBED, POST),
    "/api/pull": (Api.OLLAMA, Route.MANAGE, POST),
    "/api/push": (Api.OLLAMA, Route.MANAGE, POST),
    "/api/create": (Api.OLLAMA, Route.MANAGE, POST),
    "/api/copy": (Api.OLLAMA, Route.MANAGE, POST),
    "/api/delete": (Api.OLLAMA, Route.MANAGE, frozenset({"DELETE"})),
    "/v1/models": (Api.OPENAI, Route.LIST, READ),
    "/v1/chat/completions": (Api.OPENAI, Route.CHAT, POST),
    "/v1/completions": (Api.OPENAI, Route.GENERATE, POST),
    "/v1/embeddings": (Api.OPENAI, Route.EMBED, POST),
    "/v1/responses": (Api.OPENAI, Route.PASS, POST),
    "/v1/messages": (Api.OPENAI, Route.PASS, POST),
    "/v1/messages/count_tokens": (Api.OPENAI, Route.PASS, POST),
    "/v1/rerank": (Api.OPENAI, Route.PASS, POST),
    "/v1/audio/transcriptions": (Api.OPENAI, Route.PASS, POST),
}
# What goes on with a name of something in the path.
_BEGINS: tuple[tuple[str, tuple[Api, Route, frozenset[str]]], ...] = (
    ("/v1/models/", (Api.OPENAI, Route.SHOW, READ)),
    ("/api/blobs/", (Api.OLLAMA, Route.MANAGE, READ | POST)),
)
MODELS = "/v1/models/"


def route_of(method: str, path: str) -> tuple[Api, Route]:
    """The API and the route of a path (without its query).

    Raises BadRequest with status 405 for a method that this path does not take.
    """
    found = _EXACT.get(path) or next((what for start, what in _BEGINS if path.startswith(start)), None)
    if found is None:
        return (Api.OPENAI if path.startswith("/v1") else Api.OLLAMA), Route.UNKNOWN
    api, route, methods = found
    if method not in methods and method != "OPTIONS":
        raise BadRequest(
            f"{method} is not a method of {path}: it takes {' or '.join(sorted(methods))}", status=405
        )
    return api, route


def api_of(path: str) -> Api:
    """The API whose words an answer to `path` is in."""
    return Api.OPENAI if path.startswith("/v1") else Api.OLLAMA
