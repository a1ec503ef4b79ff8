"""Guesses which rows the server will refuse, so that they need not spoil a statement of many.

A guess decides nothing: a suspected row is sent in a statement of its own, and the server judges it.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

Row = Mapping[str, Any]
# The indices of the bad ones among a column's values. One loop a column, as this runs for every batch.
Check = Callable[[list[Any]], list[int]]
_MISSING = object()
_ELEMENT = re.compile(r"element #(\d+) of executemany")
_ARGUMENT = re.compile(r"query argument \$(\d+)")
_KEY = re.compile(r"\((.+)\)=\((.*)\)", re.DOTALL)
_FAILING = "Failing row contains ("
_SHOWN = 60  # characters of a value that the server shows of a failing row, at least


class Suspicion:
    """Looks for values that a column's declared type or NOT NULL speaks against."""

    def __init__(self, table: sa.Table) -> None:
        self._checks = [
            (column.key, check) for column in table.columns for check in _checks_of(column, table)
        ]

    def of(self, rows: Sequence[Row]) -> list[int]:
        """The indices of the rows that will probably be refused."""
        found: set[int] = set()
        for key, check in self._checks:
            found.update(check([row.get(key, _MISSING) for row in rows]))
        return sorted(found)

    def refuted(self, row: Row) -> None:
        """The server took a suspected row: a trigger mends it, or the table differs from its declaration."""
        self._checks = [(key, check) for key, check in self._checks if not check([row.get(key, _MISSING)])]


def blamed(error: BaseException, rows: Sequence[Row], names: Mapping[str, str]) -> int | None:
    """The index of the first row that an error of a statement of many seems to speak of.

    `names` leads from a column's name in the database to its key in the rows.
    """
    orig = getattr(error, "orig", None) or error
    message = str(orig)
    if found := _ELEMENT.search(message):
        return _within(int(found[1]), rows)
    if found := _ARGUMENT.search(message):
        return _within((int(found[1]) - 1) // max(1, len(rows[0])), rows)
    detail = _detail_of(orig)
    if detail is None:
        return None
    if found := _KEY.search(detail):
        keys = [names.get(name.strip('" '), "") for name in found[1].split(", ")]
        return _first(rows, lambda row: ", ".join(str(row.get(key)) for key in keys) == found[2])
    if _FAILING in detail:
        return _first(rows, lambda row: all(_shown(value) in detail for value in row.values()))
    return None


def _checks_of(column: sa.Column[Any], table: sa.Table) -> list[Check]:
    checks: list[Check] = []
    if not column.nullable:
        made = (
            column.server_default is not None
            or column.default is not None
            or column.identity is not None
            or column.computed is not None
            or column is table.autoincrement_column
        )
        checks.append(_null if made else _null_or_missing)
    kind = column.type
    if type(kind).__module__.startswith("sqlalchemy."):
        if isinstance(kind, sa.String) and not isinstance(kind, sa.Enum):
            checks.append(_bad_text(kind.length))
        elif isinstance(kind, sa.Integer):
            bits = 15 if isinstance(kind, sa.SmallInteger) else 63 if isinstance(kind, sa.BigInteger) else 31
            checks.append(_bad_int(1 << bits))
    return checks


def _null(values: list[Any]) -> list[int]:
    return [index for index, value in enumerate(values) if value is None]


def _null_or_missing(values: list[Any]) -> list[int]:
    return [index for index, value in enumerate(values) if value is None or value is _MISSING]


def _bad_text(length: int | None) -> Check:
    most = sys.maxsize if length is None else length

    def is_bad(value: Any) -> bool:
        if type(value) is str:
            return len(value) > most or "\0" in value or not _encodes(value)
        return value is not None and value is not _MISSING

    def check(values: list[Any]) -> list[int]:
        return [
            index
            for index, value in enumerate(values)
            if not (type(value) is str and value.isascii() and "\0" not in value and len(value) <= most)
            and is_bad(value)
        ]

    return check


def _bad_int(most: int) -> Check:
    def check(values: list[Any]) -> list[int]:
        return [
            index
            for index, value in enumerate(values)
            if not (
                -most <= value < most
                if type(value) is int
                else value is None or value is _MISSING or type(value) is bool
            )
        ]

    return check


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _detail_of(orig: BaseException) -> str | None:
    detail = getattr(orig.__cause__, "detail", None) or getattr(
        getattr(orig, "diag", None), "message_detail", None
    )
    return detail if isinstance(detail, str) else None


def _within(index: int, rows: Sequence[Row]) -> int | None:
    return index if index < len(rows) else None


def _first(rows: Sequence[Row], speaks_of: Callable[[Row], bool]) -> int | None:
    return next((index for index, row in enumerate(rows) if speaks_of(row)), None)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return value[:_SHOWN]
    return str(value) if type(value) is int else ""


def reason_of(error: BaseException) -> str:
    """Why a row was refused, in a line for the log: without its values and parameters."""
    orig = getattr(error, "orig", None) or error
    cause = orig.__cause__ if isinstance(error, exc.DBAPIError) and orig.__cause__ is not None else orig
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"
