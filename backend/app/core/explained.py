"""The settings as people see them: names, meanings, where values came from, and what is wrong with one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from .secrets import scrubbed
from .settings import ENV_FILES, Settings, environment

PREFIX = "SENTINEL_"
MASK = "********"


@dataclass(frozen=True, slots=True)
class Explained:
    """One setting. `source` is `environment`, the path of a .env file, or `default`."""

    name: str
    value: str
    default: str
    source: str
    meaning: str


def names_of(field: str) -> tuple[str, ...]:
    """The variables that set a field, the one that wins first."""
    alias = Settings.model_fields[field].validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [PREFIX + field]
    return tuple(dict.fromkeys(str(choice).upper() for choice in choices))


def explained(settings: Settings) -> Iterator[Explained]:
    """Every setting, in the order of the class."""
    files = [(str(path), _upper(dotenv_values(path))) for path in reversed(ENV_FILES) if path.is_file()]
    places: list[tuple[str, Mapping[str, object]]] = [("environment", environment()), *files]
    for field, info in Settings.model_fields.items():
        names = names_of(field)
        found = ((name, place) for place, values in places for name in names if name in values)
        name, source = next(found, (names[0], "default"))
        value = getattr(settings, field)
        yield Explained(name, _shown(value), _default(info), source, info.description or "")


def unknown(given: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each SENTINEL_* that is no setting, with the one that was probably meant."""
    known = {name for field in Settings.model_fields for name in names_of(field)}
    names = set(_upper(environment() if given is None else given))
    if given is None:
        names |= {name for path in ENV_FILES if path.is_file() for name in _upper(dotenv_values(path))}
    bare = {name.removeprefix(PREFIX): name for name in known}
    said = []
    for name in sorted(name for name in names - known if name.startswith(PREFIX)):
        near = get_close_matches(name.removeprefix(PREFIX), bare, 1, 0.7)
        hint = f"did you mean {bare[near[0]]}?" if near else "`python -m app settings` lists them."
        said.append(f"{name} is not a setting and changes nothing: {hint}")
    return said


def troubles(error: ValidationError | SettingsError) -> list[str]:
    """A sentence for each value that cannot be used. Names the variable; no secret is repeated."""
    if isinstance(error, SettingsError):
        field = next((each for each in Settings.model_fields if f'"{each}"' in str(error)), "")
        name = names_of(field)[0] if field else "A setting"
        return [f'{name} must be JSON, such as {{"X-Team": "blue"}}.']
    said = []
    for problem in error.errors():
        name = _name(str(problem["loc"][0])) if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ").rstrip(".")
        if name and name not in message:
            given = problem["input"]
            is_plain = isinstance(given, str | int | float) and not _is_secret(name)
            shown = f"={scrubbed(str(given))}" if is_plain else ""
            message = f"{name}{shown} cannot be used: {message[:1].lower()}{message[1:]}"
        said.append(f"{message}.")
    return said


def _name(place: str) -> str:
    """The variable of a field (of several the one that is set), or of one of its names in any case."""
    for field in Settings.model_fields:
        names = names_of(field)
        if place == field or place.upper() in names:
            return next((name for name in names if name in environment()), names[0])
    return place


def _is_secret(name: str) -> bool:
    return name.endswith(("_URL", "_KEY", "_KEYS", "_HEADERS"))


def _upper(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.upper(): value for name, value in values.items()}


def _default(info: FieldInfo) -> str:
    return _shown(info.get_default(call_default_factory=True))


def _shown(value: object) -> str:
    """A value for people. Of a secret only that there is one; of an address all but user and password."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, tuple):
        return ",".join(_shown(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(each)}" for key, each in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else scrubbed(str(value) if not isinstance(value, Path) else value.as_posix())


def table() -> str:
    """The settings as a table in Markdown, which docs/operations.md holds."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for field, info in Settings.model_fields.items():
        names = ", ".join(f"`{name}`" for name in names_of(field))
        default = _default(info)
        rows.append(f"| {names} | {f'`{default}`' if default else ''} | {info.description} |")
    return "\n".join(rows)
