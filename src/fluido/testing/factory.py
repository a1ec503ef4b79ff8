"""Laws by name, as the command line and scenario files give them."""

import importlib
from collections.abc import Callable
from typing import cast

from fluido.laws._base import Law
from fluido.laws._fixed import Fixed

LawFactory = Callable[..., Law]


def named_law(name: str) -> LawFactory:
    """The factory that "module:Class" names, called with start, floor and ceiling. ValueError if none."""
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--law wants module:Class, and {name!r} is none: {error}") from error
    if not callable(factory):
        raise ValueError(f"{name} cannot be called")
    return cast("LawFactory", factory)


def fixed_start(*, start: float, floor: float, ceiling: float) -> Law:
    """The law that keeps the limit of the start, to compare with."""
    return Fixed(min(max(start, floor), ceiling))
