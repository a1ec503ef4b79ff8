"""The property: a writer stores, and refuses, what the stock library does row by row. And what breaks it."""

import asyncio
import inspect
import textwrap
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings

from fluido.sqlalchemy._rows import RowWriter
from fluido.sqlalchemy._surroundings import Surroundings

from .writer_differential import batches, difference, pair

pytestmark = pytest.mark.servers

# Driver, AUTOCOMMIT, hooks that set each caller's tenant.
ENGINES = {
    "asyncpg": ("asyncpg", False, False),
    "psycopg": ("psycopg", False, False),
    "asyncpg, autocommit, hooks": ("asyncpg", True, True),
    "psycopg, hooks": ("psycopg", False, True),
    "psycopg, autocommit": ("psycopg", True, False),
}


def play(url: str, engine: str, examples: int, *, steady: bool = True) -> None:
    """Raise AssertionError that names the first difference."""
    driver, autocommit, hooks = ENGINES[engine]
    url = url.replace("+asyncpg", f"+{driver}")
    with asyncio.Runner() as runner:
        both = runner.run(pair(url, autocommit=autocommit, hooks=hooks))

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=steady,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(batches())
        def check(batch: tuple[int, Any, bool]) -> None:
            wrong = runner.run(difference(both, *batch))
            assert wrong is None, wrong

        try:
            check()
        finally:
            runner.run(both.close())


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_are_what_single_inserts_store(postgres_url: str, engine: str) -> None:
    play(postgres_url, engine, 100)


@pytest.mark.deep
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("engine", ENGINES)
def test_rows_are_what_single_inserts_store_20_000_times(postgres_url: str, engine: str, part: int) -> None:
    play(postgres_url, engine, 500, steady=False)


def descend(rows: Any) -> Any:
    """What unnest made of lists: one level less."""
    return [
        {name: value[0] if isinstance(value, list) and value else value for name, value in row.items()}
        for row in rows
    ]


def alike(rows: Any) -> Any:
    """Every value as the first one of its column."""
    first = {name: type(value) for name, value in rows[0].items() if type(value) in {int, str, float, bool}}
    return [
        {
            name: first[name](value) if name in first and value is not None else value
            for name, value in row.items()
        }
        for row in rows
    ]


def decorated(rows: Any, table: sa.Table) -> Any:
    """Lists of columns that are arrays only by their decorator's `impl`, taken for single values."""
    arrays = {
        column.key
        for column in table.columns
        if isinstance(column.type, sa.types.TypeDecorator) and isinstance(column.type.impl, sa.ARRAY)
    }
    return [
        {name: value[:1] if name in arrays and value else value for name, value in row.items()}
        for row in rows
    ]


ALIKE = "insert = self.insert\n"
MUTANTS: dict[str, tuple[Any, str, str, str]] = {
    "lists are descended": (RowWriter, "_store_alike", ALIKE, ALIKE + "    rows = descend(rows)\n"),
    "the first value decides the type": (
        RowWriter,
        "_store_alike",
        ALIKE,
        ALIKE + "    rows = alike(rows)\n",
    ),
    "list columns by a decorator are no lists": (
        RowWriter,
        "_store_alike",
        ALIKE,
        ALIKE + "    rows = decorated(rows, insert.table)\n",
    ),
    "rows land under the tenant of the first": (
        Surroundings,
        "of",
        "return differing or None, context",
        "return None, context",
    ),
    "a row beside a refused one is stored twice": (
        RowWriter,
        "_isolate",
        "at = end\n            size *= 2",
        "at = max(at + 1, end - 1)\n            size *= 2",
    ),
}


def mutate(patch: pytest.MonkeyPatch, owner: Any, name: str, old: str, new: str) -> None:
    """Compile a method anew with `old` replaced by `new`."""
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    assert source.count(old) == 1, f"{name} has changed: say again what to break"
    scope = vars(inspect.getmodule(owner)) | {"descend": descend, "alike": alike, "decorated": decorated}
    exec(source.replace(old, new), scope)  # noqa: S102  # our own source with one line changed
    patch.setattr(owner, name, scope[name])


@pytest.mark.parametrize("what", MUTANTS)
def test_the_property_finds(what: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, *MUTANTS[what])
    with pytest.raises((AssertionError, TypeError, ValueError)):
        play(postgres_url, "asyncpg, autocommit, hooks", 400)
