"""Configuration of the gateway: a TOML file, flags of the command line, or neither."""

import ipaddress
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from fluido.llm.engines import address, shown

from ._keys import Client, Keys

Api = Literal["ollama", "openai"]
# What becomes of a caller's own runner options. "passthrough": nothing of his is touched, engines reload.
WishPolicy = Literal["resident", "strict", "planned", "passthrough"]

DEFAULT_PORT = 11435
# What stands at the end of an address as other clients want it.
ENDINGS = ("/api/chat", "/api/generate", "/api", "/chat/completions", "/v1")
NEAR = 0.6


class BadConfig(ValueError):
    """A setting that cannot be used, as a sentence that says what to write instead."""


@dataclass(frozen=True, slots=True)
class EngineUrl:
    """An engine's address. `api` is found out where it is empty; `headers` are sent and never shown.

    `slots` and `window` (tokens of one call) state what an engine does not tell.
    """

    url: str
    api: Api | Literal[""] = ""
    name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    slots: int | None = None
    window: int | None = None

    @classmethod
    def parse(
        cls,
        given: str,
        *,
        api: str = "",
        name: str = "",
        key: str = "",
        headers: Mapping[str, str] | None = None,
        slots: int | None = None,
        window: int | None = None,
    ) -> "EngineUrl":
        """An address as people write it: with or without `http://`, `/v1`, `:key@`. Raises BadConfig."""
        if api not in {"", *get_args(Api)}:
            raise BadConfig(f"an engine's api is ollama or openai, not {api!r}")
        for what, value in (("slots", slots), ("window", window)):
            if value is not None and value < 1:
                raise BadConfig(f"an engine's {what} is at least 1, not {value}")
        try:
            where = address(given, endings=ENDINGS, api_key=key, headers=headers)
        except ValueError as error:
            raise BadConfig(str(error)) from None
        chosen: Api | Literal[""] = "ollama" if api == "ollama" else "openai" if api == "openai" else ""
        return cls(where.url, chosen, shown(name) or where.url, where.headers, slots, window)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the gateway is told. Raises BadConfig where two things cannot go together.

    No engines: those on this machine's usual ports. `aliases` are names that clients may use for a model.
    `wishes` is what becomes of a caller's own runner options. `manage` lets every client pull, create, copy
    and delete models; else only keys with `admin`. `answer_tokens` bounds an answer whose caller set no
    bound. `away_s` is how long a call without a deadline waits while all engines are away. `origins` are web
    pages, beside the engine's own defaults, that may call from a browser.
    """

    engines: tuple[EngineUrl, ...] = ()
    listen: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    keys: Keys = field(default_factory=Keys)
    observe: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    wishes: WishPolicy = "resident"
    most_context_tokens: int | None = None
    manage: bool = False
    answer_tokens: int | None = None
    wait_s: float = 600.0
    away_s: float = 20.0
    heartbeat_s: float = 15.0
    max_waiting: int = 2000
    max_body_bytes: int = 32 << 20
    max_waiting_bytes: int = 512 << 20
    max_connections: int = 10_000
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise BadConfig(f"port is a number from 1 to 65535, not {self.port}")
        if self.wishes not in get_args(WishPolicy):
            raise BadConfig(f"wishes is one of {', '.join(get_args(WishPolicy))}, not {self.wishes!r}")
        for name in ("wait_s", "heartbeat_s", "max_waiting", "max_body_bytes", "max_waiting_bytes"):
            if getattr(self, name) <= 0:
                raise BadConfig(f"{name} is above 0, not {getattr(self, name)}")
        if not 0 <= self.away_s < math.inf:
            raise BadConfig(f"away_s is 0 or more seconds, not {self.away_s}")
        for name in ("most_context_tokens", "answer_tokens"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise BadConfig(f"{name} is at least 1, not {getattr(self, name)}")
        if not is_loopback(self.listen) and not self.keys:
            raise BadConfig(
                f"listening on {self.listen} lets everybody in who reaches this machine: make a key first "
                "(`fluido gateway key new NAME`, then --keys FILE; or --key prints one for this run), or "
                "listen on 127.0.0.1"
            )

        mine = {f"http://{host}:{self.port}" for host in ("127.0.0.1", "localhost", "[::1]", self.listen)}
        if self.port and (loop := next((each.url for each in self.engines if each.url in mine), "")):
            raise BadConfig(f"the engine {loop} is this gateway itself: give the engine's own address")

    @property
    def url(self) -> str:
        """The address of this gateway as a client on this machine writes it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.listen, self.listen)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`. A name that is no address: only localhost."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def configured(
    given: Mapping[str, object],
    *,
    folder: Path | None = None,
    more_keys: Iterable[tuple[str, Client]] = (),
) -> Config:
    """A Config from the settings of a file or of flags. Relative files lie in `folder`.

    Raises BadConfig, for a field that nobody knows with the one that was probably meant.
    """
    values: dict[str, Any] = {"keys": Keys(more_keys)}
    for name, value in given.items():
        reader = _READERS.get(name)
        if reader is None:
            raise BadConfig(_unknown(name, _READERS, "setting"))
        if name == "keys":
            values["keys"] = Keys.load((folder or Path()) / _text(name, value), more_keys)
        else:
            values["engines" if name == "engine" else name] = reader(name, value)
    return Config(**values)


def settings_of(path: Path) -> dict[str, object]:
    """The settings in a TOML file. Raises BadConfig with a sentence and the line."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not TOML: {error}") from None


def _unknown(name: str, known: Iterable[str], what: str) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=NEAR)
    meant = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
    return f"there is no {what} {name!r}: {meant}"


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadConfig(f"{name} is a text, not {value!r}")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadConfig(f"{name} is true or false, not {value!r}")
    return value


def _count(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadConfig(f"{name} is a whole number, not {value!r}")
    return value


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadConfig(f"{name} is a number of seconds, not {value!r}")
    return float(value)


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise BadConfig(f"{name} is a list of texts, not {value!r}")
    return tuple(_text(name, each) for each in value)


def _names(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise BadConfig(f'{name} is a table like {{ "gpt-4o" = "qwen3:8b" }}, not {value!r}')
    return {str(key): _text(f"{name}.{key}", each) for key, each in value.items()}


def _engines(name: str, value: object) -> tuple[EngineUrl, ...]:
    """One address, a list of them, or tables `[[engine]]` with more than an address."""
    if not isinstance(value, list | tuple):
        value = [value]
    return tuple(_engine(name, each) for each in value)


def _in_one_text(given: str) -> dict[str, object]:
    """`URL,slots=4,name=gpu`, as a flag has it."""
    url, *more = given.split(",")
    found: dict[str, object] = {"url": url}
    for each in more:
        field, _, value = each.strip().partition("=")
        found[field] = int(value) if field in {"slots", "window"} and value.isdigit() else value
    return found


def _engine(name: str, value: object) -> EngineUrl:
    if isinstance(value, EngineUrl):
        return value
    if isinstance(value, str):
        value = _in_one_text(value)
    if not isinstance(value, Mapping) or "url" not in value:
        raise BadConfig(
            f"{name} is an address like http://127.0.0.1:11434, or a table with url, not {value!r}"
        )
    read: dict[str, Any] = {}
    for key, each in value.items():
        reader = _ENGINE_READERS.get(key)
        if reader is None:
            raise BadConfig(_unknown(key, _ENGINE_READERS, "setting of an engine"))
        read[key] = reader(f"engine.{key}", each)
    return EngineUrl.parse(read.pop("url"), **read)


Reader = Callable[[str, object], object]
_ENGINE_READERS: dict[str, Reader] = {
    "url": _text,
    "api": _text,
    "name": _text,
    "key": _text,
    "headers": _names,
    "slots": _count,
    "window": _count,
}
_READERS: dict[str, Reader] = {
    "engine": _engines,
    "listen": _text,
    "port": _count,
    "keys": _text,
    "observe": _flag,
    "aliases": _names,
    "wishes": _text,
    "most_context_tokens": _count,
    "manage": _flag,
    "answer_tokens": _count,
    "wait_s": _seconds,
    "away_s": _seconds,
    "heartbeat_s": _seconds,
    "max_waiting": _count,
    "max_body_bytes": _count,
    "max_waiting_bytes": _count,
    "max_connections": _count,
    "origins": _texts,
}
