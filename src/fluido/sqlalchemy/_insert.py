"""INSERTs of many rows as SQLAlchemy itself compiles them: every type, default and decorator is its own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.elements import ClauseElement

Row = Mapping[str, Any]
Insert = Any  # SQLAlchemy types an INSERT with RETURNING and one without as two
Target = sa.Table | type[Any]


class Expressions(dict[str, Any]):
    """A row with SQL expressions among its values: it needs a statement of its own."""


class RowInsert:
    """The INSERTs of one table or mapped class: checks rows, fills in Python defaults, builds statements.

    Rows go in and answers come out by the table's column keys, or by a mapped class's attribute names. Of a
    mapped class they get what a session gives its objects: the polymorphic identity and the first version.
    With `key` (columns of a unique constraint) a row that is there already is left alone. ValueError for
    names that are not there, TypeError for what is no table.
    """

    def __init__(
        self, target: Target, *, returning: Sequence[str] | str = (), key: Sequence[str] | str = ()
    ) -> None:
        self.table, self._columns, self._of_class = _columns_of(target)
        self.returning = _names(returning)
        self.key = _names(key)
        self._renamed = {name: column.key for name, column in self._columns.items() if name != column.key}
        self._check({*self.returning, *self.key})
        # Of the whole table: a plain INSERT also fills in columns that a mapped class leaves out.
        self._defaults: list[tuple[str, Any]] = [
            (column.key, column)
            for column in self.table.columns
            if column.default is not None and (column.default.is_scalar or column.default.is_callable)
        ]
        self._key_columns = [self._columns[name] for name in self.key]
        self.answered = [self._columns[name] for name in self.returning]
        self.plain = self.finished(postgresql.insert(self.table))
        self._lookups: dict[tuple[bool, ...], sa.Select[Any]] = {}

    def complete(self, row: Row) -> dict[str, Any]:
        """The row by column keys with its Python defaults, called here: once a row, in its caller's context.

        ValueError for a name the table does not have and for a key that is not given.
        """
        if not row.keys() <= self._columns.keys():
            self._check(row.keys())
        renamed = self._renamed
        full = {renamed.get(name, name): value for name, value in row.items()} if renamed else dict(row)
        if self._of_class:
            full = self._of_class | full
        missing = [(key, column) for key, column in self._defaults if key not in full]
        if missing:
            full |= dict.fromkeys(key for key, _ in missing)
            for key, column in missing:
                default = column.default
                full[key] = default.arg(Defaulting(full, column)) if default.is_callable else default.arg
        for column in self._key_columns:
            if column.key not in full:
                raise ValueError(f"a row for {self.table.name} needs its key {column.key}: {self.key}")
        for value in full.values():
            if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
                return Expressions(full)
        return full

    def keyed(self, row: Row) -> bool:
        """Whether the server can tell by its key that the row is there already: NULLs are never the same."""
        return bool(self.key) and not any(
            row[column.key] is None or isinstance(row[column.key], ClauseElement)
            for column in self._key_columns
        )

    def one(self, row: Row) -> tuple[Insert, Row | None]:
        """The statement of a single row, the stock one, and its parameters."""
        if isinstance(row, Expressions):
            return self.plain.values(dict(row)), None
        return self.plain, row or None

    def many(self, row: Row) -> Insert:
        """The statement of several rows alike `row`, for execution with a list of them.

        Without `returning` it asks for what a single INSERT asks for by itself, the primary keys that the
        server makes: SQLAlchemy then writes all rows into one statement.
        """
        if self.returning or not self.table.implicit_returning:
            return self.plain
        made = [column for column in self.table.primary_key if column.key not in row]
        return self.plain.returning(*made) if made else self.plain.returning(sa.literal_column("1"))

    def answer(self, values: Iterable[Any]) -> dict[str, Any]:
        """A row of the server by the names that were asked for."""
        return dict(zip(self.returning, values, strict=True))

    def lookup(self, row: Row) -> tuple[sa.Select[Any], dict[str, Any]]:
        """Finds the row that was there already: the server compares, by the columns' own types."""
        given = [(f"k{index}", column) for index, column in enumerate(self._key_columns)]
        nulls = tuple(row[column.key] is None for _, column in given)
        known = self._lookups.get(nulls)
        if known is None:
            same = [
                column.is_(None)
                if null
                else column == sa.cast(sa.bindparam(name, type_=column.type), column.type)
                for (name, column), null in zip(given, nulls, strict=True)
            ]
            known = self._lookups[nulls] = sa.select(*self.answered).where(*same)
        return known, {name: row[column.key] for name, column in given if row[column.key] is not None}

    def touching(self, row: Row) -> Insert:
        """The INSERT that answers the row in its way, where a trigger changes the key: no value finds it."""
        return (
            postgresql.insert(self.table)
            .values(dict(row))
            .on_conflict_do_update(
                index_elements=self._key_columns,
                set_={column.name: self.table.columns[column.key] for column in self._key_columns},
            )
            .returning(*self.answered)
        )

    def finished(self, insert: Insert) -> Insert:
        """An INSERT with what is asked of all of them: to leave known keys alone, and to answer."""
        if self.key:
            insert = insert.on_conflict_do_nothing(index_elements=self._key_columns)
        # In the order of the parameters: one plan node inserts and returns, row after row. SQLAlchemy's own
        # sorting is not asked for: it trusts that new ids ascend, which a trigger or a sequence need not do,
        # and writes one statement a row where the server makes the keys by itself.
        return insert.returning(*self.answered) if self.returning else insert

    def _check(self, names: Iterable[str]) -> None:
        unknown = sorted(set(names) - self._columns.keys())
        if unknown:
            raise ValueError(f"{self.table.name} has no column {', '.join(map(str, unknown))}")


class Defaulting:
    """What a `default=lambda context: ...` may ask of its context before the statement exists."""

    def __init__(self, parameters: dict[str, Any], column: sa.Column[Any]) -> None:
        self.current_parameters = parameters
        self.current_column = column
        self.isinsert = True
        self.isupdate = False

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """The values of the row so far, by column key."""
        return self.current_parameters

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the default of {self.current_column} asks its context for {name}: a row of a group is completed"
            " before its statement exists; give the value in the row, or insert such rows one by one"
        )


def _names(names: Sequence[str] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _columns_of(target: Target) -> tuple[sa.Table, dict[str, sa.Column[Any]], dict[str, Any]]:
    """The table, its columns by the names of rows, and the values that every row of a class has."""
    if isinstance(target, sa.Table):
        return target, {column.key: column for column in target.columns}, {}
    mapper = sa.inspect(target, raiseerr=False)
    if not isinstance(mapper, Mapper):
        raise TypeError(f"rows go to a Table or a mapped class, not to {target!r}")
    if len(mapper.tables) != 1 or not isinstance(mapper.local_table, sa.Table):
        raise TypeError(f"{target!r} is mapped to {len(mapper.tables)} tables: give the Table to write to")
    table = mapper.local_table
    columns = {
        attribute.key: column
        for attribute in mapper.column_attrs
        for column in attribute.columns[:1]
        if isinstance(column, sa.Column) and column.table is table
    }
    return table, columns, _of_class(mapper)


def _of_class(mapper: Mapper[Any]) -> dict[str, Any]:
    values: dict[Any, Any] = {}
    if isinstance(mapper.polymorphic_on, sa.Column) and mapper.polymorphic_identity is not None:
        values[mapper.polymorphic_on.key] = mapper.polymorphic_identity
    generator = mapper.version_id_generator
    if mapper.version_id_col is not None and callable(generator):
        values[mapper.version_id_col.key] = generator(None)
    return values
