"""One INSERT for any number of rows: one array a column, no bound on parameters, one plan for all sizes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

Row = Mapping[str, Any]


class UnnestInsert:
    """Builds `INSERT INTO t (a, b) SELECT a, b FROM unnest($1, $2) ...` for one table.

    Python-side defaults of the table are filled in row by row, server-side ones are left to the server.
    With `key` (columns of a unique constraint) a row that is there already is left alone. ValueError for an
    array column, which unnest would flatten, and for names the table does not have.
    """

    def __init__(self, table: sa.Table, *, returning: Sequence[str] = (), key: Sequence[str] = ()) -> None:
        self.table = table
        self.returning = tuple(returning)
        self.key = tuple(key)
        self._known = frozenset(column.key for column in table.columns)
        self._check({*self.returning, *self.key})
        arrays = sorted(column.key for column in table.columns if isinstance(column.type, sa.ARRAY))
        if arrays:
            raise ValueError(
                f"{table.name} has array columns ({', '.join(arrays)}): unnest would flatten them"
            )
        self._defaults = {
            column.key: column.default
            for column in table.columns
            if column.default is not None and (column.default.is_scalar or column.default.is_callable)
        }
        self._statements: dict[tuple[str, ...], sa.Executable] = {}

    def complete(self, row: Row) -> dict[str, Any]:
        """The row with its Python-side defaults. ValueError for a name the table does not have."""
        self._check(row.keys())
        missing = self._defaults.keys() - row.keys()
        return {**row, **{name: _default_of(self._defaults[name]) for name in missing}}

    def statement(self, names: tuple[str, ...]) -> sa.Executable:
        """The INSERT for rows that have these columns; its parameters are one list a column, named alike."""
        known = self._statements.get(names)
        if known is None:
            known = self._statements[names] = self._build(names)
        return known

    def parameters(self, names: tuple[str, ...], rows: Sequence[Row]) -> dict[str, list[Any]]:
        """The rows turned into one list a column."""
        return {f"p_{name}": [row[name] for row in rows] for name in names}

    def lookup(self) -> sa.Select[Any]:
        """Finds the rows that were there already: by one list a column of the key."""
        columns = self.table.columns
        wanted = self._source(self.key)
        same = [columns[name] == wanted.c[name] for name in self.key]
        return sa.select(*self._answer()).where(sa.exists().where(*same))

    def names_of(self, row: Row) -> tuple[str, ...]:
        """The columns of a completed row, in the table's order."""
        return tuple(column.key for column in self.table.columns if column.key in row)

    def _answer(self) -> list[sa.Column[Any]]:
        return [self.table.columns[name] for name in dict.fromkeys((*self.key, *self.returning))]

    def _build(self, names: tuple[str, ...]) -> sa.Executable:
        source = self._source(names)
        chosen = sa.select(*(source.c[name] for name in names)).order_by(source.c.fluido_n)
        columns = [self.table.columns[name] for name in names]
        insert = postgresql.insert(self.table).from_select(columns, chosen, include_defaults=True)
        if self.key:
            insert = insert.on_conflict_do_nothing(
                index_elements=[self.table.columns[name] for name in self.key]
            )
        return insert.returning(*self._answer()) if self.returning else insert

    def _source(self, names: tuple[str, ...]) -> sa.TableValuedAlias:
        arrays = [
            sa.bindparam(f"p_{name}", type_=postgresql.ARRAY(_element(self.table.columns[name].type)))
            for name in names
        ]
        columns = [sa.column(name, self.table.columns[name].type) for name in names]
        rows = sa.func.unnest(*arrays).table_valued(*columns, with_ordinality="fluido_n", name="fluido_rows")
        return rows.render_derived()

    def _check(self, names: Iterable[str]) -> None:
        unknown = sorted(set(names) - self._known)
        if unknown:
            raise ValueError(f"{self.table.name} has no column {', '.join(unknown)}")


def _element(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """The type of the array's elements. A cast to varchar(5) would cut in silence what the column refuses."""
    if isinstance(kind, sa.String) and not isinstance(kind, sa.Enum):
        return sa.Text()
    return kind


def _default_of(default: Any) -> Any:
    # SQLAlchemy wraps every callable so that it takes its execution context, which none needs here.
    return default.arg(None) if default.is_callable else default.arg
