"""The corners hold the bounds that the package promises, and the newest is what the suite itself runs on."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
BOUNDS = dict(
    re.findall(
        r"^([a-z]+)(?:\[\w+\])?>=([\d.]+)", "\n".join([*EXTRAS["redis"], *EXTRAS["sqlalchemy"]]), re.MULTILINE
    )
)


def pinned(path: str) -> dict[str, str]:
    text = (ROOT / "requirements" / path).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[\w+\])?==(\S+)", text, re.MULTILINE))


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_both_drop_ins_name_their_bounds() -> None:
    assert BOUNDS.keys() == {"redis", "hiredis", "sqlalchemy"}


@pytest.mark.parametrize("name", ["redis", "hiredis", "sqlalchemy"])
def test_the_lowest_corner_is_the_lower_bound(name: str) -> None:
    bound = numbers(BOUNDS[name])
    assert numbers(pinned("versions/lowest.txt")[name])[: len(bound)] == bound


@pytest.mark.parametrize("name", ["redis", "hiredis", "sqlalchemy", "asyncpg", "psycopg"])
def test_the_newest_corner_is_what_the_suite_runs_on(name: str) -> None:
    assert pinned("versions/newest.txt")[name] == pinned("dev.txt")[name]
