"""The request that goes to an engine: the client's own bytes with a patch, or a translation of them."""

from dataclasses import dataclass
from typing import Protocol

from fluido.gateway.wire.asked import Asked
from fluido.gateway.wire.bad_request import BadRequest
from fluido.gateway.wire.guard import Profile, guarded, renamed
from fluido.gateway.wire.routes import Api, Route
from fluido.gateway.wire.spans import encoded


class Translator(Protocol):
    """Turns an engine's answer into the client's API. One for each answer."""

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


def to_upstream(asked: Asked, engine_api: Api, profile: Profile) -> Upstream:
    """`asked` as an engine of `engine_api` takes it. Raises BadRequest for a field that cannot be carried."""
    if asked.api is engine_api:
        return _same(asked, profile)
    raise BadRequest(f"{asked.path} cannot be translated for this engine yet")


def _same(asked: Asked, profile: Profile) -> Upstream:
    if not asked.fields.names():
        return Upstream(asked.path, asked.body, method=asked.method)
    if asked.api is Api.OLLAMA:
        body, changed = guarded(asked, profile)
        return Upstream(asked.path, body, None, changed, asked.method)
    patch, told = renamed(asked, profile)
    translator = None
    if profile.wants_usage and asked.is_stream and asked.route in {Route.CHAT, Route.GENERATE}:
        options = asked.fields.value("stream_options")
        if not (isinstance(options, dict) and options.get("include_usage")):
            given = options if isinstance(options, dict) else {}
            patch.set("stream_options", encoded({**given, "include_usage": True}))
            translator = WithoutUsage()
    return Upstream(asked.path, patch.apply(), translator, tuple(told), asked.method)


class WithoutUsage:
    """Takes the counts out of a stream whose client did not ask for them: the event without choices."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Whole events, without the one that only counts."""
        held = self._rest + data if self._rest else data
        cut = held.rfind(b"\n\n") + 2
        if cut < 2:
            self._rest = held
            return b""
        self._rest = held[cut:]
        held = held[:cut]
        if b'"choices":[]' not in held and b'"choices": []' not in held:
            return held
        events = held.split(b"\n\n")
        return b"\n\n".join(event for event in events if not _only_counts(event))

    def end(self) -> bytes:
        """What came after the last event."""
        rest, self._rest = self._rest, b""
        return rest

    def whole(self, body: bytes) -> bytes:
        """A plain answer always counts."""
        return body


def _only_counts(event: bytes) -> bool:
    return b'"usage"' in event and (b'"choices":[]' in event or b'"choices": []' in event)
