"""API keys: who a caller is, which lane and share he has, which models he may use. Kept as hashes."""

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fluido.errors import FluidoError
from fluido.llm._call import Lane

PREFIX = "fluido-"
# 256 random bits: nothing to guess, so that one SHA-256 is enough and a call costs a microsecond.
SECRET_BYTES = 32
HASH = re.compile(r"sha256:[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
PATH = re.compile(r"/k/([^/?]{1,256})(?=[/?]|$)")
MAX_KEYS = 10_000
# A changed file is in force after so long.
REREAD_S = 1.0
ASKED_FOR = "it goes into the header `Authorization: Bearer KEY`, or into the address as /k/KEY"


class BadKeys(ValueError):
    """A file of keys that cannot be used, as a sentence."""


class Unauthorized(FluidoError):
    """No key, or none that is known and valid: ask for another. 401; `is_known`: it is, and may not: 403."""

    def __init__(self, message: str, *, is_known: bool = False) -> None:
        super().__init__(message)
        self.is_known = is_known
        self.http_status = 403 if is_known else 401


@dataclass(frozen=True, slots=True)
class Client:
    """Who calls. `weight` is his share of an engine's time beside others; `models` are patterns like qwen*.

    No models: all. `per_minute` bounds his calls; None: no bound. `admin` may pull and delete models.
    """

    name: str
    lane: Lane = Lane.INTERACTIVE
    weight: float = 1.0
    models: tuple[str, ...] = ()
    per_minute: int | None = None
    admin: bool = False

    def may_use(self, model: str) -> bool:
        """Whether one of his patterns is the model's name, with or without its tag."""
        names = (model.casefold(), model.casefold().partition(":")[0])
        return not self.models or any(
            fnmatchcase(name, pattern.casefold()) for pattern in self.models for name in names
        )


ANYONE = Client("anyone")


@dataclass(frozen=True, slots=True)
class _Key:
    digest: bytes
    client: Client
    expires_s: float | None  # seconds since 1970


class Keys:
    """The keys of a gateway. Without any, everybody is let in as `ANYONE`.

    A file is read again when it changed; one that cannot be read leaves the keys as they were.
    """

    __slots__ = ("_clock", "_keys", "_looked_s", "_own", "_path", "_spent", "_stamp", "_wall", "trouble")

    def __init__(
        self,
        keys: Iterable[tuple[str, Client]] = (),
        *,
        path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._own = {(digest := _digest(key)): _Key(digest, client, None) for key, client in keys}
        self._keys = dict(self._own)
        self._path = path
        self._clock = clock
        self._wall = wall
        self._looked_s = clock()
        self._stamp: tuple[int, int] | None = None
        self._spent: dict[str, tuple[float, float]] = {}  # name: permits left, when that was
        self.trouble = ""
        """Why a changed file is not in force."""

    @classmethod
    def load(
        cls,
        path: Path,
        keys: Iterable[tuple[str, Client]] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> "Keys":
        """The keys of a file, and more. Raises BadKeys with a sentence."""
        made = cls(keys, path=path, clock=clock, wall=wall)
        made._keys.update(_read(path))
        made._stamp = _stamp(path)
        if not made._keys:
            raise BadKeys(f"{path} holds no key: make one with `fluido gateway key new NAME --file {path}`")
        return made

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def clients(self) -> tuple[Client, ...]:
        """Everybody who has a key."""
        return tuple(key.client for key in self._keys.values())

    def who(self, headers: Mapping[bytes, bytes], path: str) -> tuple[Client, str]:
        """Who sends a request, and its path without the key. Header names are in small letters.

        Raises Unauthorized, never with the key in it.
        """
        self._reread()
        found = PATH.match(path)
        if found is not None:
            path = path[found.end() :]
            path = path if path.startswith("/") else f"/{path}"
        if not self._keys:
            return ANYONE, path
        given = found[1].encode() if found is not None else _given(headers)
        if not given:
            raise Unauthorized(f"this gateway asks for a key: {ASKED_FOR}")
        digest = hashlib.sha256(given).digest()
        key = self._keys.get(digest)
        # what the dictionary compares are digests, from which nobody learns a key; the last word is this one
        if key is None or not hmac.compare_digest(key.digest, digest):
            raise Unauthorized(f"this key is not known here: {ASKED_FOR}")
        if key.expires_s is not None and self._wall() >= key.expires_s:
            raise Unauthorized(f"the key of {key.client.name} has expired: ask for a new one", is_known=True)
        return key.client, path

    def take(self, client: Client) -> float:
        """Count one call against the client's rate; 0.0 if he may, else the seconds until he may."""
        if client.per_minute is None:
            return 0.0
        rate, now_s = client.per_minute / 60.0, self._clock()
        left, at_s = self._spent.get(client.name, (float(client.per_minute), now_s))
        left = min(float(client.per_minute), left + (now_s - at_s) * rate)
        if left < 1.0:
            self._spent[client.name] = (left, now_s)
            return (1.0 - left) / rate
        self._spent[client.name] = (left - 1.0, now_s)
        return 0.0

    def _reread(self) -> None:
        if self._path is None or (now_s := self._clock()) - self._looked_s < REREAD_S:
            return
        self._looked_s = now_s
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            fresh = _read(self._path)
            if not fresh:
                raise BadKeys(f"{self._path} holds no key any more")
        except (OSError, BadKeys) as error:
            self.trouble = f"the keys are as they were: {error}"
            return
        self._keys, self.trouble = {**self._own, **fresh}, ""


def _given(headers: Mapping[bytes, bytes]) -> bytes:
    """The key in Authorization (Bearer, or the password of Basic), x-api-key or api-key."""
    scheme, _, value = headers.get(b"authorization", b"").strip().partition(b" ")
    value = value.strip()
    if scheme.lower() == b"bearer":
        return value
    if scheme.lower() == b"basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).partition(b":")
        except ValueError:
            return b""
        return password or user
    return headers.get(b"x-api-key", b"").strip() or headers.get(b"api-key", b"").strip()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def made_secret() -> str:
    """A new key."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def new_key(
    path: Path,
    name: str,
    *,
    lane: str = "",
    weight: float = 1.0,
    models: Iterable[str] = (),
    per_minute: int | None = None,
    days: int | None = None,
    admin: bool = False,
) -> str:
    """Make a key, append its hash to the file (made for its owner alone) and return it: it is told once.

    Raises BadKeys, also for a name that is taken.
    """
    entry: dict[str, object] = {"name": name, "lane": lane or Lane.INTERACTIVE.name.lower(), "weight": weight}
    if chosen := list(models):
        entry["models"] = chosen
    if per_minute is not None:
        entry["per_minute"] = per_minute
    if days is not None:
        if days < 1:
            raise BadKeys(f"a key lives for at least one day, not {days}")
        expires = datetime.fromtimestamp(time.time() + days * 86400, UTC).replace(microsecond=0)
        entry["expires"] = expires
    if admin:
        entry["admin"] = True
    key = made_secret()
    entry["hash"] = f"sha256:{_digest(key).hex()}"
    _entry(entry, path)  # what would not be read is not written
    before = _read(path) if path.exists() else {}
    if any(each.client.name == name for each in before.values()):
        raise BadKeys(f"{path} has a key of {name!r} already: take it out first, or choose another name")
    if len(before) >= MAX_KEYS:
        raise BadKeys(f"{path} holds {MAX_KEYS} keys, which is the most")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{field} = {_toml(value)}" for field, value in entry.items()]
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "a", encoding="utf-8") as file:
        file.write("\n[[key]]\n" + "\n".join(lines) + "\n")
    return key


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case list():
            return "[" + ", ".join(_toml(each) for each in value) + "]"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case _:
            return str(value)


def _read(path: Path) -> dict[bytes, _Key]:
    try:
        with path.open("rb") as file:
            whole = tomllib.load(file)
    except OSError as error:
        raise BadKeys(f"the file of keys {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadKeys(f"the file of keys {path} is not TOML: {error}") from None
    entries = whole.pop("key", [])
    if whole or not isinstance(entries, list):
        raise BadKeys(f"{path} holds nothing but tables [[key]], not {next(iter(whole), 'key')!r}")
    if len(entries) > MAX_KEYS:
        raise BadKeys(f"{path} holds {len(entries)} keys: {MAX_KEYS} is the most")
    read = [_entry(entry, path) for entry in entries]
    name, count = next(iter(Counter(key.client.name for key in read).most_common(1)), ("", 0))
    if count > 1:
        raise BadKeys(f"{path} has {count} keys of {name!r}: each needs a name of its own")
    return {key.digest: key for key in read}


def _entry(entry: object, path: Path) -> _Key:
    if not isinstance(entry, Mapping):
        raise BadKeys(f"{path} holds a key that is no table: write [[key]] above it")
    name = entry.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadKeys(f"a key's name is 1 to 64 letters, digits and . _ @ -, not {name!r} ({path})")
    values: dict[str, Any] = {}
    for field, value in entry.items():
        check = _FIELDS.get(field)
        if check is None:
            raise BadKeys(_unknown(field, name, path, [each for each in _FIELDS if each not in entry]))
        trouble = check(value)
        if trouble:
            raise BadKeys(f"{field} of the key {name!r} is {trouble}, not {value!r} ({path})")
        values[field] = value
    if "hash" not in values:
        raise BadKeys(f"the key {name!r} has no hash: make it with `fluido gateway key new {name}` ({path})")
    client = Client(
        name,
        Lane[str(values.get("lane", "interactive")).upper()],
        float(values.get("weight", 1.0)),
        tuple(values.get("models", ())),
        values.get("per_minute"),
        values.get("admin", False),
    )
    return _Key(bytes.fromhex(values["hash"][7:]), client, _seconds(values.get("expires")))


def _seconds(expires: object) -> float | None:
    """A date ends with its day, a time without a zone is UTC."""
    if isinstance(expires, datetime):
        return (expires if expires.tzinfo else expires.replace(tzinfo=UTC)).timestamp()
    if isinstance(expires, date):
        return datetime(expires.year, expires.month, expires.day, tzinfo=UTC).timestamp() + 86400
    return None


def _unknown(field: str, name: str, path: Path, missing: Iterable[str]) -> str:
    if field in {"key", "secret", "token", "value"}:
        return (
            f"keys are kept as hashes: take {field!r} of {name!r} out of {path} and make the key with "
            f"`fluido gateway key new {name}`"
        )
    near = get_close_matches(field, list(missing), n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(_FIELDS)}"
    return f"a key has no field {field!r} ({name!r} in {path}): {meant}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_LANES = ", ".join(lane.name.lower() for lane in Lane)
# Each says what a value should be, or nothing where it is that.
_FIELDS: dict[str, Callable[[Any], str]] = {
    "name": lambda _: "",
    "hash": lambda v: "" if isinstance(v, str) and HASH.fullmatch(v) else "sha256: and 64 hexadecimal digits",
    "lane": lambda v: "" if isinstance(v, str) and v.upper() in Lane.__members__ else f"one of {_LANES}",
    "weight": lambda v: "" if _is_number(v) and 0.01 <= v <= 1000 else "a number from 0.01 to 1000",
    "models": lambda v: (
        "" if isinstance(v, list) and all(isinstance(each, str) for each in v) else "a list of names"
    ),
    "per_minute": lambda v: (
        "" if isinstance(v, int) and not isinstance(v, bool) and v > 0 else "a whole number above 0"
    ),
    "expires": lambda v: "" if isinstance(v, date) else "a date like 2027-01-31, without quotes",
    "admin": lambda v: "" if isinstance(v, bool) else "true or false",
}
