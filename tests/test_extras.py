"""An absent extra fails with its name."""

import pytest

from fluido.extras import need


def test_a_missing_library_names_the_extra() -> None:
    with pytest.raises(ImportError, match=r"needs no_such_module: pip install 'fluido\[redis\]'"):
        need("redis", "redis", "no_such_module")


def test_what_is_there_is_not_asked_for() -> None:
    need("redis", "redis", "hiredis")
