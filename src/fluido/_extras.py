"""What a drop-in says when the library it needs is not installed, or is too old."""

import re
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

# `redis<9,>=5.2; extra == "redis"`, as the package's own metadata has it.
_WISH = re.compile(
    r"^(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*(?P<bounds>[^;]*);\s*extra == ['\"](?P<extra>\w+)['\"]$"
)
_BOUND = re.compile(r"(?P<sign>>=|<)\s*(?P<version>[\w.]+)")


def need(extra: str, *modules: str) -> None:
    """Raise ImportError that names the extra, unless every one of `modules` is there and new enough.

    The versions are those of the package's metadata. One that is newer than what was tried is only warned of.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ImportError(
            f"fluido's {extra} part needs {' and '.join(missing)}: pip install 'fluido[{extra}]'",
            name=missing[0],
        )
    for name, sign, bound, found in _bounds(extra):
        if sign == ">=" and _numbers(found) < _numbers(bound):
            raise ImportError(
                f"fluido's {extra} part needs {name} {bound} or newer and {found} is installed: "
                f"pip install --upgrade 'fluido[{extra}]'",
                name=name,
            )
        if sign == "<" and _numbers(found) >= _numbers(bound):
            warnings.warn(
                f"fluido's {extra} part was tried with {name} before {bound}, and {found} is installed: "
                f"pip install 'fluido[{extra}]' takes one that was tried",
                stacklevel=3,
            )


def _bounds(extra: str) -> Iterator[tuple[str, str, str, str]]:
    """Name, sign, bound and installed version of every library of an extra; none outside of a package."""
    try:
        wishes = requires("fluido") or []
    except PackageNotFoundError:
        return
    for wish in wishes:
        parts = _WISH.match(wish)
        if parts is None or parts["extra"] != extra:
            continue
        try:
            found = version(parts["name"])
        except PackageNotFoundError:
            continue
        for bound in _BOUND.finditer(parts["bounds"]):
            yield parts["name"], bound["sign"], bound["version"], found


def _numbers(text: str) -> tuple[int, ...]:
    """The release of a version: 2.1.0b2 is (2, 1), so that 2.1 and 2.1.0 are the same."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in release[0].split(".")] if release else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
