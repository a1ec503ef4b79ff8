"""An absent extra fails with its name, and so does one that is too old."""

import importlib.metadata
import subprocess
import sys

import pytest

from fluido import _extras as extras
from fluido._extras import need

WISHES = ['redis<9,>=5.2; extra == "redis"', 'sqlalchemy[asyncio]<2.2,>=2.0.26; extra == "sqlalchemy"']


def has(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(extras, "requires", lambda _: WISHES)

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(extras, "version", version)


def test_a_missing_library_names_the_extra() -> None:
    with pytest.raises(ImportError, match=r"needs no_such_module: pip install 'fluido\[redis\]'"):
        need("redis", "redis", "no_such_module")


def test_what_is_there_is_not_asked_for() -> None:
    for extra, module in (("redis", "redis"), ("sqlalchemy", "sqlalchemy"), ("llm", "aiohttp")):
        need(extra, module)
    need("prometheus", "prometheus_client")


def test_one_that_is_too_old_names_both_versions_and_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, redis="5.0.8")
    with pytest.raises(ImportError, match=r"redis 5.2 or newer and 5.0.8 is installed: .*'fluido\[redis\]'"):
        need("redis", "redis")
    for fine in ("5.2", "5.2.0", "5.10.1", "8.2.0b1"):
        has(monkeypatch, redis=fine)
        need("redis", "redis")
    has(monkeypatch, sqlalchemy="2.0.25")
    with pytest.raises(ImportError, match=r"sqlalchemy 2.0.26 or newer"):
        need("sqlalchemy", "sqlalchemy")


def test_one_that_is_newer_than_what_was_tried_is_warned_of_and_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has(monkeypatch, redis="9.0.0")
    with pytest.warns(UserWarning, match=r"redis before 9, and 9.0.0"):
        need("redis", "redis")


@pytest.mark.parametrize(
    ("door", "module", "extra"),
    [
        ("fluido.redis", "hiredis", "redis"),
        ("fluido.sqlalchemy", "sqlalchemy", "sqlalchemy"),
        ("fluido.llm", "aiohttp", "llm"),
        ("fluido.telemetry.prometheus", "prometheus_client", "prometheus"),
        ("fluido.telemetry.opentelemetry", "opentelemetry", "opentelemetry"),
    ],
)
def test_every_door_names_its_extra(door: str, module: str, extra: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None\nimport {door}"
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        f"u.find_spec = lambda name, *a: None if name == {module!r} else find(name, *a)\n{code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert f"ImportError: fluido's {extra} part needs {module}" in done.stderr, done.stderr
