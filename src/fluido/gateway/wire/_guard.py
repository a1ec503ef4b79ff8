"""Reload guard: one set of runner options for all callers of a model, each change of a request told.

An Ollama compares these before it answers and loads the model again when one differs: the runner options (an
absent `num_ctx` is "automatic", and equal only to another automatic one), `shift`, and the adapters, which no
request can name. So all requests of one model carry the same. `keep_alive` is the runner's too, and the last
writer wins: it is taken as advice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fluido.gateway.wire._asked import Asked
from fluido.gateway.wire._durations import is_nothing, seconds_of
from fluido.gateway.wire._routes import Route
from fluido.gateway.wire._spans import Members, Patch, encoded
from fluido.llm._profile import RUNNER_FIELDS, canonical

CHANGED_HEADER = b"X-Fluido-Changed"
# What Ollama takes for "as you like", beside leaving it out.
_AUTOMATIC = {"num_gpu": -1, "num_thread": 0}


@dataclass(frozen=True, slots=True)
class Profile:
    """How one model of one engine is asked.

    `model` is its name there (empty: as the client wrote it). `runner` are the runner options that every
    request carries; what is not in it is never sent. `shift` and `keep_alive` likewise (None: never sent).
    `is_guarding` False changes nothing but the name. `truncates`: the engine may cut a prompt that is too
    long, in silence, as Ollama does by itself. `window_tokens` is the context window (0 unknown);
    `most_tokens` bounds an answer where the client set no bound. `extra` goes into each request to an OpenAI
    engine (`id_slot`); `wants_usage` asks it for its counts. `kind` is what it is ("llama.cpp", "vllm").
    """

    model: str = ""
    runner: Mapping[str, object] = field(default_factory=dict)
    shift: bool | None = None
    keep_alive: str | float | None = None
    truncates: bool = False
    is_guarding: bool = True
    window_tokens: int = 0
    most_tokens: int | None = None
    wants_usage: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)
    kind: str = ""


class KeepAlive:
    """How long a model is kept: the longest that a caller asked for; None while nobody did."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: str | float | None = None

    def advise(self, keep_alive: str | float | None) -> None:
        """A caller asked for this. "Unload" is no wish for others, and what is no duration is not heard."""
        if keep_alive is None or is_nothing(keep_alive):
            return
        asked_s = seconds_of(keep_alive)
        if asked_s is not None and (self.value is None or asked_s > (seconds_of(self.value) or 0.0)):
            self.value = keep_alive


def wishes(asked: Asked) -> dict[str, object]:
    """The runner options that a request asks for."""
    return {
        name: value
        for name, value in asked.options.items()
        if name in RUNNER_FIELDS and value is not None and _AUTOMATIC.get(name) != value
    }


def conflicts(asked: Asked, profile: Profile) -> tuple[str, ...]:
    """The wishes that a loaded model does not fulfil: each would have loaded it again. Empty: none."""
    return tuple(
        f"{name} {shown(value)}->{shown(profile.runner.get(name))}"
        for name, value in sorted(wishes(asked).items())
        if profile.runner.get(name) != value
    )


def guarded(asked: Asked, profile: Profile) -> tuple[bytes, tuple[str, ...]]:
    """The request of an Ollama client as an Ollama gets it, and what was changed (`num_ctx 8192->32768`)."""
    patch = Patch(asked.fields)
    changed: list[str] = []
    _rename(asked, profile, patch, changed)
    if profile.is_guarding and asked.route in {Route.CHAT, Route.GENERATE, Route.EMBED}:
        options = Members(asked.fields.bytes_of("options") if asked.options else b"{}", where="options")
        inner = Patch(options)
        for name, before, after in _runner_changes(asked, profile):
            changed.append(f"{name} {shown(before)}->{shown(after)}")
            if after is None:
                inner.remove(name)
            else:
                inner.set(name, encoded(after))
        if asked.route is not Route.EMBED and not asked.is_empty:
            _bound(asked, profile, inner, changed)
            _told_of_length(asked, profile, patch, changed)
        if inner:
            patch.set("options", inner.apply())
        _field(asked.fields, patch, changed, "shift", profile.shift)
        if not asked.is_unload and not is_same_duration(asked.keep_alive, profile.keep_alive):
            _field(asked.fields, patch, changed, "keep_alive", profile.keep_alive)
    return patch.apply(), tuple(changed)


def renamed(asked: Asked, profile: Profile) -> tuple[Patch, list[str]]:
    """The beginnings of a patch for an OpenAI engine: the model's name, our extra fields, and the bound."""
    patch = Patch(asked.fields)
    changed: list[str] = []
    _rename(asked, profile, patch, changed)
    if profile.is_guarding and asked.route in {Route.CHAT, Route.GENERATE}:
        for name, value in profile.extra.items():
            patch.set(name, encoded(value))
        if profile.most_tokens is not None and asked.most_tokens is None:
            patch.set("max_tokens", encoded(profile.most_tokens))
            changed.append(f"max_tokens unset->{profile.most_tokens}")
    return patch, changed


def header_of(changed: tuple[str, ...]) -> bytes:
    """The value of the header that tells of the changes; short, and of nothing that breaks a header."""
    told = "; ".join(changed)[:1000]
    return "".join(letter if " " <= letter <= "~" else "?" for letter in told).encode("ascii")


def is_same_model(one: str, other: str) -> bool:
    """Whether two names are of one Ollama model: `llama3` is `llama3:latest`."""
    return canonical(one).casefold() == canonical(other).casefold()


def _rename(asked: Asked, profile: Profile, patch: Patch, changed: list[str]) -> None:
    if profile.model and profile.model != asked.model:
        patch.set("name" if _named_by_name(asked.fields) else "model", encoded(profile.model))
        if asked.model and not is_same_model(asked.model, profile.model):
            changed.append(f"model {asked.model}->{profile.model}")


def _named_by_name(members: Members) -> bool:
    return not members.value("model") and "name" in members


def _runner_changes(asked: Asked, profile: Profile) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(RUNNER_FIELDS):
        before, after = asked.options.get(name), profile.runner.get(name)
        if before is not None and _AUTOMATIC.get(name) == before and after is None:
            continue
        # True equals 1 in Python and not in Ollama.
        if before != after or (type(before) is bool) is not (type(after) is bool):
            yield name, before, after


def _bound(asked: Asked, profile: Profile, inner: Patch, changed: list[str]) -> None:
    if profile.most_tokens is not None and asked.most_tokens is None:
        inner.set("num_predict", encoded(profile.most_tokens))
        changed.append(f"num_predict {shown(asked.options.get('num_predict'))}->{profile.most_tokens}")


def _told_of_length(asked: Asked, profile: Profile, patch: Patch, changed: list[str]) -> None:
    """A prompt that is too long is refused, with numbers, unless the client itself asked to have it cut."""
    if not profile.truncates and asked.fields.value("truncate") is None:
        patch.set("truncate", b"false")
        changed.append("truncate unset->false")


def _field(members: Members, patch: Patch, changed: list[str], name: str, value: Any) -> None:
    before = members.value(name)
    if before == value:
        return
    if value is None:
        patch.remove(name)
    else:
        patch.set(name, encoded(value))
    changed.append(f"{name} {shown(before)}->{shown(value)}")


def is_same_duration(one: str | float | None, other: str | float | None) -> bool:
    """Whether two keep_alive are the same time."""
    if one is None or other is None:
        return one is other
    return seconds_of(one) == seconds_of(other)


def shown(value: object) -> str:
    """A value as the header tells it: short, and "unset" where it was left out."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:60]
