"""Request fields on their way to another API: each is carried, known to say nothing, or refused by name."""

from collections.abc import Iterable
from typing import Any

import msgspec

from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._spans import Members, decoded

NULL = b"null"


class Fields:
    """The fields of one request. What nobody took is refused by `refuse_rest`."""

    __slots__ = ("_engine", "_members", "_taken")

    def __init__(self, members: Members, engine: str) -> None:
        self._members = members
        self._engine = engine
        self._taken: set[str] = set()

    def take(self, name: str) -> Any:
        """A value, decoded; None where it is absent or null."""
        self._taken.add(name)
        return self._members.value(name)

    def raw(self, name: str) -> msgspec.Raw | None:
        """A value as it came; None where it is absent or null."""
        self._taken.add(name)
        raw = self._members.raw(name)
        return None if raw is None or bytes(memoryview(raw)[:4]) == NULL else raw

    def string(self, name: str) -> str | None:
        """A text. Raises BadRequest for anything else."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            raise BadRequest(f"{name} must be a string", field=name)
        return value

    def flag(self, name: str) -> bool | None:
        """True or false. Raises BadRequest for anything else."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise BadRequest(f"{name} must be true or false", field=name)
        return value

    def skip(self, *names: str) -> None:
        """These say nothing that an engine has to know."""
        self._taken.update(names)

    def only(self, name: str, *allowed: object, because: str) -> None:
        """A field that can be carried for some values only: refuse the others by name."""
        value = self.take(name)
        if value is not None and not any(value == each and type(value) is type(each) for each in allowed):
            raise self.uncarried(name, because)

    def refuse_rest(self, known: Iterable[str] = ()) -> None:
        """Refuse the first field that nobody took and that says something."""
        for name in self._members.names():
            if name not in self._taken and name not in known and self.raw(name) is not None:
                raise self.uncarried(name, "it has no such field")

    def uncarried(self, name: str, because: str) -> BadRequest:
        """The refusal of a field."""
        return BadRequest(
            f"{name} cannot be carried to {self._engine}: {because}. Ask without it",
            field=name,
            code="unsupported_parameter",
        )


def is_object(raw: bytes | msgspec.Raw) -> bool:
    """Whether JSON that came as it is holds an object."""
    return bytes(memoryview(raw)[:1]) == b"{"


def texts(value: Any, name: str) -> list[str] | None:
    """A text or a list of texts, as a list."""
    if value is None:
        return None
    each = [value] if isinstance(value, str) else value
    if not isinstance(each, list) or not all(isinstance(one, str) for one in each):
        raise BadRequest(f"{name} must be a string or a list of strings", field=name)
    return each


def listed(raw: msgspec.Raw, name: str) -> list[msgspec.Raw]:
    """The items of a list, not decoded."""
    try:
        return _LISTED.decode(raw)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"{name} must be a list", field=name.partition("[")[0]) from error


def mapping_in(raw: msgspec.Raw, name: str) -> dict[str, Any]:
    """An object."""
    value = decoded(raw)
    if not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object", field=name.partition("[")[0])
    return value


_LISTED = msgspec.json.Decoder(list[msgspec.Raw])
